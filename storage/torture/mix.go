package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/storage/storagetest"
)

// parts are the files and directories of a store that can come from another moment
// than the rest.
var parts = []string{"journal", "index", "table", "checkpoint", "uses", "facts"}

const generations = 6

// generation is a copy of a store at one moment, with a ledger of what was
// acknowledged until then.
type generation struct{ dir, ledger, how string }

// mix combines stores from the files of two moments.
func (t *torture) mix() error {
	if t.rounds == 0 {
		t.rounds = 500
	}
	l := newLedger()
	list, err := t.generations(l)
	if err != nil {
		return err
	}
	began, tally, r := time.Now(), map[string]int{}, row{what: "mix", acked: l.Acked}
	for n := range t.rounds {
		one := t.rand.IntN(len(list))
		other := (one + 1 + t.rand.IntN(len(list)-1)) % len(list)
		which := 1 + t.rand.IntN(1<<len(parts)-2)
		result, what := t.mixOnce(list[one], list[other], which)
		verdict, _, _ := strings.Cut(result, ":")
		if tally[verdict]++; verdict == "wrong" {
			r.wrong++
			t.log("generation %d (%s) with %s of generation %d (%s): %s", one, list[one].how, what, other, list[other].how, result)
		}
		if (n+1)%50 == 0 {
			t.log("%d mixes, %v, %s", n+1, tally, time.Since(began).Round(time.Second))
		}
	}
	r.rounds, r.took = t.rounds, time.Since(began)
	r.note = fmt.Sprintf("%v of %d moments, over %s", tally, len(list), strings.Join(parts, " "))
	t.table = append(t.table, r)
	return nil
}

// generations lets a store work, and copies it now and then after a kill or a stop.
func (t *torture) generations(l *ledger) (list []generation, err error) {
	dir := t.path("store")
	for n := range generations {
		g := generation{dir: t.path(fmt.Sprint("generation", n)), ledger: t.path(fmt.Sprint("ledger", n)), how: "stopped"}
		most := fmt.Sprint(min(60, 10*t.rounds))
		if n%2 == 1 {
			g.how, most = "killed", "1000000000"
		}
		v, err := start(l, "work", dir, "0s", fmt.Sprint(n), "200ms", most)
		if err != nil {
			return nil, err
		}
		if n%2 == 1 {
			time.Sleep(t.within(700*time.Millisecond, 1200*time.Millisecond))
			err = v.kill()
			l.Kills++
		} else {
			err = v.wait()
		}
		if err == nil {
			err = storagetest.CopyStore(dir, g.dir)
		}
		if err != nil {
			return nil, err
		}
		// The files decide what happened to the changes in flight. All events are
		// compared each time, so the ledger begins again with the first one.
		before := l.Fresh
		_, wrong, err := inspect(l, dir, 0, true)
		if l.Sequence, l.Fresh = 0, before; err == nil && len(wrong) > 0 {
			err = fmt.Errorf("generation %d: %s", n, some(wrong))
		}
		if err == nil {
			err = l.save(g.ledger)
		}
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// mixOnce takes some parts of a store from another one, and has the result checked.
// It must match its journal, or be refused with an error that says what to do.
func (t *torture) mixOnce(one, other generation, which int) (result, what string) {
	dir, ledger := t.path("mixed"), one.ledger
	defer os.RemoveAll(dir)
	if err := storagetest.CopyStore(one.dir, dir); err != nil {
		return "wrong: " + err.Error(), what
	}
	var from []string
	for n, part := range parts {
		if which>>n&1 == 0 {
			continue
		}
		from = append(from, part)
		if part == "journal" {
			ledger = other.ledger
		}
		to, source := filepath.Join(dir, "store", part), filepath.Join(other.dir, "store", part)
		err := os.RemoveAll(to)
		if _, there := os.Stat(source); err == nil && there == nil {
			err = exec.Command("cp", "-a", "--sparse=always", source, to).Run()
		}
		if err != nil {
			return "wrong: " + err.Error(), what
		}
	}
	what = strings.Join(from, ", ")
	result = t.look(dir, ledger)
	switch {
	case strings.HasPrefix(result, "refused") && !strings.Contains(result, "restore"):
		return "wrong: it is not said what to do: " + result, what
	case !strings.HasPrefix(result, "noticed"):
		return result, what
	}
	if again := t.look(dir, ledger); again != "right" {
		return "wrong: " + result + ", and not healed: " + again, what
	}
	return "healed", what
}
