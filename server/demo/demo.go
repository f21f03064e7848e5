// Package demo fills an empty store with made-up users and tokens, so that Gatehouse
// can be tried, and measured, with data in it. Each run makes the same users and the
// same tokens; only the secrets differ. It opens no store and never looks whether the
// one that it fills is empty: its caller does.
package demo

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"gatehouse/storage"
)

// Options say how much to make.
type Options struct {
	Users, Tokens int
	Samples       int       // how many of the tokens to return, at most
	Now           time.Time // the lastUsed times are spread over the two years before it
	Progress      func(done int)
}

// Fill makes users and tokens, and returns the secrets of up to o.Samples tokens,
// spread evenly over all of them.
func Fill(ctx context.Context, store *storage.Store, o Options) ([]storage.Secret, error) {
	g := &generator{store: store, Options: o, rand: rand.New(rand.NewPCG(1, 2))}
	if err := g.users(ctx); err != nil {
		return nil, fmt.Errorf("make users: %w", err)
	}
	if err := g.tokens(ctx); err != nil {
		return nil, fmt.Errorf("make tokens: %w", err)
	}
	return g.samples, nil
}

// batch is how many records one change makes.
const batch = 500

type generator struct {
	Options
	store   *storage.Store
	rand    *rand.Rand
	owners  []storage.UserID
	samples []storage.Secret
}

func (g *generator) actor() storage.Actor { return storage.Actor{Name: "gatehouse demo"} }

func (g *generator) users(ctx context.Context) error {
	for len(g.owners) < g.Users {
		if err := ctx.Err(); err != nil {
			return err
		}
		var list []storage.User
		for n := len(g.owners); n < g.Users && len(list) < batch; n++ {
			list = append(list, g.user(n))
		}
		made, err := g.store.ImportUsers(g.actor(), list)
		if err != nil {
			return err
		}
		for _, u := range made {
			g.owners = append(g.owners, u.ID)
		}
	}
	return nil
}

func (g *generator) user(n int) storage.User {
	first, last := firsts[n%len(firsts)], lasts[n/len(firsts)%len(lasts)]
	uid := fmt.Sprintf("%s.%s@example.com", lower(first), lower(last))
	if again := n / (len(firsts) * len(lasts)); again > 0 {
		uid = fmt.Sprintf("%s.%s%d@example.com", lower(first), lower(last), again+1)
	}
	sources := [...]string{storage.SourceLocal, "ldap", "ldap", "github"}
	return storage.User{
		UID: uid, Name: first + " " + last, Source: sources[g.rand.IntN(len(sources))],
		Created: g.ago(2*365, 3*365),
	}
}

func (g *generator) tokens(ctx context.Context) error {
	for done := 0; done < g.Tokens; {
		if err := ctx.Err(); err != nil {
			return err
		}
		var list []storage.Imported
		for ; done < g.Tokens && len(list) < batch; done++ {
			list = append(list, g.token(done))
		}
		made, err := g.store.ImportTokens(g.actor(), list)
		if err != nil {
			return err
		}
		g.sample(made, done)
		if g.Progress != nil {
			g.Progress(done)
		}
	}
	return nil
}

// sample keeps as large a share of these tokens as the sample needs of all tokens so far.
func (g *generator) sample(made []storage.Token, done int) {
	want := min(g.Samples, g.Tokens)
	for _, t := range made {
		if len(g.samples)*g.Tokens < want*done {
			g.samples = append(g.samples, g.store.Reveal(t))
		}
	}
}

// token returns the nth token. Users hold different numbers of them, and one in ten
// was never used.
func (g *generator) token(n int) storage.Imported {
	owner := g.owners[n%len(g.owners)]
	if g.rand.IntN(4) == 0 { // some hold more than others
		owner = g.owners[g.rand.IntN(1+g.rand.IntN(len(g.owners)))]
	}
	created := g.ago(0, 2*365)
	t := storage.Imported{Owner: owner, Name: names[g.rand.IntN(len(names))], Created: created, LastUsed: created}
	if g.rand.IntN(10) > 0 {
		t.LastUsed = created + 1 + g.rand.Int64N(g.Now.UnixMilli()-created)
		t.From = storage.Origin{
			Address: netip.AddrFrom4([4]byte{10, byte(g.rand.IntN(4)), byte(g.rand.IntN(256)), byte(1 + g.rand.IntN(254))}),
			Agent:   agents[g.rand.IntN(len(agents))],
		}
		often := 1 + g.rand.Int64N(100)
		for range 1 + g.rand.IntN(10) {
			t.Days = append(t.Days, 1+g.rand.Int64N(often))
		}
	}
	return t
}

// ago returns a random time, from least to most days before now.
func (g *generator) ago(least, most int) int64 {
	const day = 24 * int64(time.Hour/time.Millisecond)
	return g.Now.UnixMilli() - int64(least)*day - 1 - g.rand.Int64N(int64(most-least)*day)
}

func lower(name string) string {
	b := []byte(name)
	b[0] |= 0x20
	return string(b)
}

var (
	firsts = [...]string{
		"Ada", "Alan", "Barbara", "Brian", "Claude", "Dennis", "Donald", "Edsger", "Fran", "Grace",
		"Hedy", "Ida", "Jean", "John", "Katherine", "Ken", "Leslie", "Lynn", "Margaret", "Niklaus",
		"Per", "Radia", "Richard", "Robin", "Shafi", "Tim", "Tony", "Vint", "Whitfield", "Xavier",
	}
	lasts = [...]string{
		"Allen", "Backus", "Cerf", "Diffie", "Engelbart", "Floyd", "Goldwasser", "Hamilton", "Hoare", "Hopper",
		"Iverson", "Johnson", "Kay", "Knuth", "Lamport", "Lamarr", "Liskov", "Lovelace", "Milner", "Naur",
		"Perlman", "Perlis", "Ritchie", "Rivest", "Shannon", "Sutherland", "Thompson", "Turing", "Wilkes", "Wirth",
	}
	agents = [...]string{"curl/8.14.1", "git/2.47.3", "Go-http-client/1.1", "python-requests/2.32.3", "Wget/1.25.0"}
	names  = [...]string{
		"", "backup", "ci", "cron", "dashboard", "deploy", "export", "grafana", "import", "jupyter",
		"laptop", "monitoring", "nightly", "notebook", "report", "sync", "workstation",
	}
)
