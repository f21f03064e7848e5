package storage_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
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
	c.Store = openWith(t, c.Dir(), storage.Options{Now: c.clock.Now, Early: true, Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	select {
	case <-log.seen:
	case <-time.After(time.Minute):
		t.Fatal("waited a minute for what queries ask for")
	}
	var all []storage.Token
	for tk := range must.All(c.Tokens(storage.TokenFilter{Revoked: true}))(t) {
		all = append(all, tk)
	}
	c.Index().Shut()
	if _, err := c.Token(all[0].ID); err == nil {
		t.Fatal("the index still answers")
	}
	near := netip.PrefixFrom(home.Address, home.Address.BitLen())
	maker := all[0].By
	for name, f := range map[string]storage.TokenFilter{
		"times":  {Match: &storage.Match{Created: storage.Span{From: 1}}},
		"texts":  {Match: &storage.Match{By: func(by string) bool { return by == maker }}},
		"seen":   {Match: &storage.Match{Seen: []netip.Prefix{near}}},
		"state":  {Revoked: true, Match: &storage.Match{State: func(storage.UserState) bool { return false }}},
		"person": {Match: &storage.Match{Owner: func(p *storage.Person) bool { return p.Source == storage.SourceLocal }}},
		"unused": {NeverUsed: true},
		"idle":   {IdleSince: c.clock.Milli() - 1000},
		"order":  {Order: storage.ByCreated, Limit: 1},
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
	for by := range storage.Order(4) {
		if list, err := c.Views().Users(storage.UserFilter{Order: by}); len(list) != c.UserCount() || err != nil {
			t.Errorf("users in order %d: got %d, %v, want %d", by, len(list), err, c.UserCount())
		}
	}
}
