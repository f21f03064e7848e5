package storage

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// lineSeen is a log that tells when it has a line with a text.
type lineSeen struct {
	text string
	seen chan struct{}
}

func (l lineSeen) Write(b []byte) (int, error) {
	if strings.Contains(string(b), l.text) {
		close(l.seen)
	}
	return len(b), nil
}

// TestKeptFromTheStart: a server reads after its start, without a query, what queries ask
// for. Then they are answered though the index answers nobody any more.
func TestKeptFromTheStart(t *testing.T) {
	c := newPopulace(t)
	for range 400 {
		c.step()
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	log := lineSeen{"what queries ask for is in memory", make(chan struct{})}
	c.Store = openWith(t, c.dir, Options{Now: c.clock.Now, Early: true, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	select {
	case <-log.seen:
	case <-time.After(time.Minute):
		t.Fatal("waited a minute for what queries ask for")
	}
	var all []Token
	for tk, err := range c.Tokens(TokenFilter{Revoked: true}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tk)
	}
	c.index.Shut()
	if _, err := c.Token(all[0].ID); err == nil {
		t.Fatal("the index still answers")
	}
	near := netip.PrefixFrom(home.Address, home.Address.BitLen())
	maker := all[0].By
	for name, f := range map[string]TokenFilter{
		"times":  {Match: &Match{Times: true, Takes: func(r *Row) bool { return r.Created > 0 }}},
		"texts":  {Match: &Match{Texts: true, Takes: func(r *Row) bool { return r.By == maker }}},
		"seen":   {Match: &Match{Seen: true, Takes: func(r *Row) bool { return r.SeenIn(near) }}},
		"state":  {Revoked: true, Match: &Match{Takes: func(r *Row) bool { return r.Revoked != 0 }}},
		"person": {Match: &Match{Person: true, Takes: func(r *Row) bool { return r.Person.Source == SourceLocal }}},
		"unused": {NeverUsed: true},
		"idle":   {IdleSince: c.clock.Milli() - 1000},
		"order":  {Order: ByCreated, Limit: 1},
		"dead":   {Revoked: true},
	} {
		want := 0
		for _, tk := range all {
			row := Row{Token: tk, Person: &Person{Source: SourceLocal}}
			switch {
			case !f.Revoked && tk.Dead(), f.NeverUsed && tk.LastUsed != tk.Created, f.IdleSince != 0 && tk.LastUsed > f.IdleSince:
			case name == "seen" && (len(tk.Usage.Seen) == 0 || tk.Usage.Seen[0].Address != home.Address):
			case name != "seen" && f.Match != nil && !f.Match.Takes(&row):
			default:
				want++
			}
		}
		if got, err := c.CountTokens(f); got != want || err != nil {
			t.Errorf("%s: counted %d, %v, want %d", name, got, err, want)
		}
		if list, err := c.MatchTokens(f); err != nil || f.Limit == 0 && len(list) != want {
			t.Errorf("%s: found %d, %v, want %d", name, len(list), err, want)
		}
	}
	for by := range Order(4) {
		if list, err := c.standings(UserFilter{Order: by}); len(list) != c.UserCount() || err != nil {
			t.Errorf("users in order %d: got %d, %v, want %d", by, len(list), err, c.UserCount())
		}
	}
}
