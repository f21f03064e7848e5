package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/storage"
)

//go:embed ask.lua
var script []byte

// result is one run of wrk against one server.
type result struct {
	requests int64 // that wrk had an answer to
	refused  int64 // of these, with 4xx or 5xx
	broken   int64 // connections that failed
	took     time.Duration
	p99      time.Duration
	cost     time.Duration // of the server's processor, for a request
	front    time.Duration // of the proxy's
}

func (r result) rate() float64 { return float64(r.requests) / r.took.Seconds() }

// pair is a round: both, and the others, one right after the other.
type pair struct {
	gate, empty result
	others      []result
	stolen      time.Duration // from the two cores, by the host of a virtual machine
}

// contest is all rounds with one kind of token.
type contest struct {
	kind
	others    []contender // the proxy that asks nobody, and the peers
	pairs     []pair
	disturbed []pair // rounds in which the host took too much, and that were run again
}

// contest runs the rounds. The gate and the empty handler take turns at being first.
func (b *bench) contest(ctx context.Context, g *gate, k kind, secrets []storage.Secret) (c contest, err error) {
	c.kind = k
	lines, err := k.lines(secrets)
	if err != nil {
		return c, err
	}
	a, err := record(g.client(), g.asks+verifyPath, lines[:len(tokenHeader)+len(secrets[0])])
	if err != nil {
		return c, err
	}
	if a.Status != k.status {
		return c, fmt.Errorf("the gate answers %d, want %d", a.Status, k.status)
	}
	file := filepath.Join(b.scratch, k.name)
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		return c, err
	}
	empty, err := b.startEmpty(ctx, a, b.socket("empty"))
	if err != nil {
		return c, err
	}
	defer empty.kill()
	contenders := []contender{g.contender(file), empty.contender(file)}
	live := k.status == http.StatusOK
	if live && b.behind != "" {
		contenders = append(contenders, contender{name: "nothing", host: "localhost", headers: file})
	}
	stop, err := b.fronts(ctx, contenders)
	if err != nil {
		return c, err
	}
	defer stop()
	if live {
		contenders = append(contenders, b.peers...)
	}
	c.others = contenders[2:]
	for len(c.pairs) < b.rounds {
		p := pair{others: make([]result, len(c.others))}
		turns := []turn{{&contenders[0], &p.gate}, {&contenders[1], &p.empty}}
		for n := range p.others {
			turns = append(turns, turn{&contenders[2+n], &p.others[n]})
		}
		if len(c.pairs)%2 == 1 {
			slices.Reverse(turns)
		}
		if p.stolen, err = b.round(ctx, turns); err != nil {
			return c, err
		}
		if err := b.add(&c, p); err != nil {
			return c, err
		}
	}
	return c, c.check()
}

// add adds a round. If the host took too much, or nothing was answered in a run because the
// machine is busy, the round does not count.
func (b *bench) add(c *contest, p pair) error {
	most := time.Duration(b.steal * float64(len(p.results())) * 2 * float64(b.duration)) // on two cores
	stuck := slices.ContainsFunc(p.results(), func(r result) bool { return r.requests == 0 && r.broken == 0 })
	if p.stolen <= most && !stuck {
		c.pairs = append(c.pairs, p)
		b.show(c, fmt.Sprintf("round %d", len(c.pairs)), p)
		return nil
	}
	c.disturbed = append(c.disturbed, p)
	b.show(c, fmt.Sprintf("again: %v were stolen", p.stolen), p)
	if len(c.disturbed) > 10*b.rounds {
		return errors.New("this machine is too busy, or its host takes too much of its cores: try later, or allow more with -steal")
	}
	return nil
}

func (p pair) results() []result { return append([]result{p.gate, p.empty}, p.others...) }

// round runs each of them once, and returns how much the host took.
func (b *bench) round(ctx context.Context, turns []turn) (stolen time.Duration, err error) {
	before, err := b.stolen()
	if err != nil {
		return 0, err
	}
	for _, t := range turns {
		if *t.result, err = b.wrk(ctx, t.contender); err != nil {
			return 0, err
		}
	}
	after, err := b.stolen()
	return after - before, err
}

// turn is a run of wrk against a contender.
type turn struct {
	*contender
	result *result
}

// wrk lets wrk run once against a contender.
func (b *bench) wrk(ctx context.Context, c *contender) (r result, err error) {
	lua := filepath.Join(b.scratch, "ask.lua")
	if err := os.WriteFile(lua, script, 0o600); err != nil {
		return r, err
	}
	server, front, err := c.processor()
	if err != nil {
		return r, err
	}
	out, err := b.pinned(ctx, b.client, "wrk", "-t1", "-c"+strconv.Itoa(b.connections), "-d"+strconv.Itoa(int(b.duration.Seconds()))+"s",
		"--timeout", "1m", // a late answer still counts: the p99 shows it
		"-s", lua, c.url, "--", c.headers, strconv.Itoa(rand.IntN(1<<30)), c.host).CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("wrk: %w\n%s", err, out)
	}
	time.Sleep(b.pause)
	serverAfter, frontAfter, err := c.processor()
	if err != nil {
		return r, err
	}
	r, err = parseRun(out)
	if n := time.Duration(r.requests); n > 0 {
		r.cost, r.front = (serverAfter-server)/n, (frontAfter-front)/n
	}
	return r, err
}

var said = regexp.MustCompile(`gatebench: (\d+) (\d+) (\d+) (\d+) (\d+)`)

// parseRun reads what the script says of a run.
func parseRun(out []byte) (r result, err error) {
	m := said.FindSubmatch(out)
	if m == nil {
		return r, fmt.Errorf("wrk says nothing of its run:\n%s", out)
	}
	var n [5]int64
	for i := range n {
		var e error
		n[i], e = strconv.ParseInt(string(m[i+1]), 10, 64)
		err = errors.Join(err, e)
	}
	return result{
		requests: n[0], refused: n[2], broken: n[3],
		took: time.Duration(n[1]) * time.Microsecond, p99: time.Duration(n[4]) * time.Microsecond,
	}, err
}

// check makes sure that what was measured is what was meant.
func (c contest) check() error {
	for _, p := range c.all() {
		for _, r := range p.results() {
			want := int64(0)
			if c.status >= 400 {
				want = r.requests
			}
			if r.refused != want || r.broken > 0 {
				return fmt.Errorf("a run had %d requests, %d refused, %d broken; want all answered %d", r.requests, r.refused, r.broken, c.status)
			}
		}
	}
	return nil
}

// The ratios of a pair: the gate's figure by that of the empty handler. Of
// rates, more is better; of latencies and cost, less.
func (p pair) rate() float64 { return p.gate.rate() / p.empty.rate() }
func (p pair) p99() float64  { return float64(p.gate.p99) / float64(p.empty.p99) }
func (p pair) cost() float64 { return float64(p.gate.cost) / float64(p.empty.cost) }

func (c contest) median(of func(pair) float64) float64 {
	var all []float64
	for _, p := range c.pairs {
		all = append(all, of(p))
	}
	slices.Sort(all)
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// one returns the medians of what one contender did in each round, each by itself.
func (c contest) one(of func(pair) result) result {
	duration := func(figure func(result) time.Duration) time.Duration {
		return time.Duration(c.median(func(p pair) float64 { return float64(figure(of(p))) }))
	}
	return result{
		requests: int64(c.median(func(p pair) float64 { return of(p).rate() })), took: time.Second,
		p99:   duration(func(r result) time.Duration { return r.p99 }),
		cost:  duration(func(r result) time.Duration { return r.cost }),
		front: duration(func(r result) time.Duration { return r.front }),
	}
}

// all are the rounds, disturbed or not.
func (c contest) all() []pair { return slices.Concat(c.pairs, c.disturbed) }

func (b *bench) show(c *contest, round string, p pair) {
	fmt.Fprintf(b.out, "%-8s  %s: %6.0f/s of %6.0f/s, %.3f; p99 %v and %v; processor %v and %v a request",
		c.name, round, p.gate.rate(), p.empty.rate(), p.rate(), p.gate.p99, p.empty.p99, p.gate.cost, p.empty.cost)
	if b.behind != "" {
		fmt.Fprintf(b.out, ", and %v and %v of %s", p.gate.front, p.empty.front, b.behind)
	}
	for n, r := range p.others {
		fmt.Fprintf(b.out, "; %s: %.0f/s, p99 %v, processor %v", c.others[n].name, r.rate(), r.p99, r.cost+r.front)
	}
	fmt.Fprintln(b.out)
}

func (b *bench) summary(all []contest) {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\nmedians of the pairs, gate : empty\trequests/s\tp99\tprocessor\t")
	for _, c := range all {
		fmt.Fprintf(w, "%s\t%.3f\t%.2f\t%.2f\t\n", c.name, c.median(pair.rate), c.median(pair.p99), c.median(pair.cost))
	}
	fmt.Fprintln(w)
	w.Flush()
	b.table(all[0])
}

// table prints what each contender did with live tokens.
func (b *bench) table(c contest) {
	w := tabwriter.NewWriter(b.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	head := "in front of what\trequests/s\tp99\tprocessor a request\t"
	if b.behind == "" {
		head = strings.TrimPrefix(head, "in front of what")
	} else {
		head += "of " + b.behind + "\tboth\t"
	}
	fmt.Fprintln(w, head)
	row := func(name string, of func(pair) result) {
		r := c.one(of)
		cost := fmt.Sprint(r.cost)
		if r.cost == 0 && r.front == 0 {
			cost = "not known" // of a program on another host
		}
		fmt.Fprintf(w, "%s\t%.0f\t%v\t%s\t", name, r.rate(), r.p99, cost)
		if b.behind != "" {
			fmt.Fprintf(w, "%v\t%v\t", r.front, r.cost+r.front)
		}
		fmt.Fprintln(w)
	}
	row("an empty handler", func(p pair) result { return p.empty })
	row("gatehouse", func(p pair) result { return p.gate })
	for n, other := range c.others {
		row(other.name, func(p pair) result { return p.others[n] })
	}
	fmt.Fprintln(w)
	w.Flush()
}

// compare looks for lost uses: it compares with the store's counts after the server has
// ended. wrk hangs up at the end of a run, so each connection may have an answer under
// way that wrk does not count.
func (b *bench) compare(uses, answered int64, all []contest) error {
	sent, hangups := int64(1), int64(0) // one: the first right answer
	for _, c := range all {
		if c.status != http.StatusOK {
			continue
		}
		sent++ // for the empty handler to learn the answer
		for _, p := range c.all() {
			sent += p.gate.requests
			hangups += int64(b.connections)
		}
	}
	fmt.Fprintf(b.out, "uses counted: %d; answered with 200: %d; known of: %d, and at most %d were under way when wrk hung up\n", uses, answered, sent, hangups)
	if answered < sent || answered > sent+hangups {
		return fmt.Errorf("the gate answered %d times, want %d to %d", answered, sent, sent+hangups)
	}
	if uses != answered {
		return fmt.Errorf("the tokens' uses moved by %d, want %d", uses, answered)
	}
	return nil
}
