package storage

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
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
	must.Do(t, c.Close())
	log := lineSeen{"what queries ask for is in memory", make(chan struct{})}
	c.Store = openWith(t, c.dir, Options{Now: c.clock.Now, Early: true, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	select {
	case <-log.seen:
	case <-time.After(time.Minute):
		t.Fatal("waited a minute for what queries ask for")
	}
	var all []Token
	for tk := range must.All(c.Tokens(TokenFilter{Revoked: true}))(t) {
		all = append(all, tk)
	}
	c.index.Shut()
	if _, err := c.Token(all[0].ID); err == nil {
		t.Fatal("the index still answers")
	}
	near := netip.PrefixFrom(home.Address, home.Address.BitLen())
	maker := all[0].By
	for name, f := range map[string]TokenFilter{
		"times":  {Match: &Match{Created: Span{From: 1}}},
		"texts":  {Match: &Match{By: func(by string) bool { return by == maker }}},
		"seen":   {Match: &Match{Seen: []netip.Prefix{near}}},
		"state":  {Revoked: true, Match: &Match{State: func(UserState) bool { return false }}},
		"person": {Match: &Match{Owner: func(p *Person) bool { return p.Source == SourceLocal }}},
		"unused": {NeverUsed: true},
		"idle":   {IdleSince: c.clock.Milli() - 1000},
		"order":  {Order: ByCreated, Limit: 1},
		"dead":   {Revoked: true},
	} {
		want := 0
		for _, tk := range all {
			switch {
			case !f.Revoked && tk.Dead(), f.NeverUsed && tk.LastUsed != tk.Created, f.IdleSince != 0 && tk.LastUsed > f.IdleSince:
			case name == "seen" && (len(tk.Usage.Seen) == 0 || tk.Usage.Seen[0].Address != home.Address):
			case name == "texts" && tk.By != maker, name == "state" && !tk.Dead():
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
