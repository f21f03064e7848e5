package query_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/query"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// town is a store with people and tokens of every kind.
type town struct {
	testing.TB
	*storage.Store
	query.Reader
	clock *storagetest.Clock
	rand  *rand.Rand
	users []storage.User
}

var root = storage.Actor{Name: "root"}

// servants are the service accounts: who owns each, and who comes after.
var servants = map[string][2]string{
	"deploy": {"ada@example.com", "bob@example.com"}, "report": {"dead@example.com", "ada@example.com"},
	"backup": {"zoé@example.com", ""}, "lost": {"dead@example.com", ""},
}

// owned are the service accounts of each user once the dead one is removed.
var owned = map[string][]string{
	"ada@example.com": {"deploy@service", "report@service"}, "zoé@example.com": {"backup@service"}, "bob@example.com": nil,
}

func suspected(uid string) bool {
	return strings.HasPrefix(uid, "bob") || strings.HasPrefix(uid, "stopped")
}

func newTown(t testing.TB, seed uint64, tokens int) *town {
	c := &town{TB: t, clock: storagetest.NewClock(noon.Add(-400 * 24 * time.Hour)), rand: rand.New(rand.NewPCG(seed, 1))}
	store := must.Get(storage.Open(t.TempDir(), storage.Options{Segment: storagetest.Segment, Now: c.clock.Now, Boot: c.clock.Boot}))(t)
	t.Cleanup(func() { store.Close() })
	c.Store, c.Reader = store, query.Reader{
		Store: store,
		Delayed: func(u storage.User) (bool, error) {
			if !suspected(u.UID) {
				t.Errorf("%s can't be delayed, but was asked about", u.UID)
			}
			return strings.HasPrefix(u.UID, "bob"), nil
		},
		Suspects: func() (func(*storage.Person) bool, error) {
			return func(p *storage.Person) bool { return suspected(p.UID) }, nil
		},
		Unverified: func() (map[storage.UserID]bool, error) {
			found := map[storage.UserID]bool{}
			for _, u := range c.users {
				found[u.ID] = u.UID != "ada@example.com"
			}
			return found, nil
		},
	}
	for _, p := range []struct{ uid, name, source string }{
		{"ada@example.com", "Ada Lovelace", "local"}, {"ada.b@example.com", "", "ldap"}, {"bob@example.com", "Robert Allen", "ldap"},
		{"zoé@example.com", "ZOÉ ßmith", "github"}, {"dead@example.com", "Dee Add", "local"}, {"stopped@example.com", "Al Len", "local"},
	} {
		made := must.Get(store.ImportUsers(root, []storage.User{{UID: p.uid, Name: p.name, Source: p.source, Created: c.clock.Milli()}}))(t)
		c.users = append(c.users, made...)
	}
	for name, people := range servants {
		u := must.Get(store.AddService(root, name, people[0], people[1], ""))(t)
		c.users = append(c.users, u)
	}
	slices.SortFunc(c.users, func(a, b storage.User) int { return strings.Compare(a.UID, b.UID) })
	for range tokens {
		c.token()
		c.clock.Pass(time.Duration(c.rand.Int64N(int64(400 * 24 * time.Hour / time.Duration(tokens)))))
	}
	must.Do(t, errors.Join(store.RemoveUser(root, "dead@example.com"), store.DisableUser(root, "stopped@example.com")))
	return c
}

func pick[T any](c *town, list ...T) T { return list[c.rand.IntN(len(list))] }

// token makes a token, and perhaps uses, and perhaps revokes it.
func (c *town) token() {
	c.Helper()
	u := pick(c, c.users...)
	spec := storage.TokenSpec{Name: pick(c, "", "nightly", "Nightly Backup", "ci", "laptop")}
	if c.rand.IntN(3) == 0 {
		spec.Scopes = pick(c, []string{"files"}, []string{"files", "deploy"}, []string{"deploy"})
	}
	if c.rand.IntN(4) == 0 {
		spec.Addresses = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	}
	if c.rand.IntN(3) == 0 {
		spec.Lifetime = c.rand.Int64N(400*24) * time.Hour.Milliseconds()
	}
	t, secret := must.Get2(c.CreateToken(pick(c, root, storage.Actor{Name: u.UID}), u.ID, spec))(c)
	for range c.rand.IntN(3) {
		c.clock.Pass(time.Duration(c.rand.IntN(3000)) * time.Millisecond)
		from := pick(c, "10.1.2.3", "10.9.9.9", "192.0.2.7", "2001:db8::5", "::ffff:192.0.2.8")
		c.Authenticate(secret.Reveal(), storage.Origin{Address: netip.MustParseAddr(from)}) // some may not from there
	}
	if c.rand.IntN(12) == 0 {
		must.Get(c.RevokeTokens(root, t.ID))(c)
	}
}

// filter makes up a filter, and says in other terms than the package what it takes.
func (c *town) filter(all []storage.Token) (name, value string, takes func(storage.Token) bool) {
	ms := func(t time.Time) int64 { return t.UnixMilli() }
	t := pick(c, all...)
	u, _ := c.UserByID(t.Owner)
	uid := strings.ToLower(c.UID(t.Owner))
	days := 1 + c.rand.IntN(400)
	ago := ms(noon.Add(-time.Duration(days) * 24 * time.Hour))
	span := fmt.Sprintf("%dd", days)
	at := pick(c, t.Created, t.LastUsed)
	when := time.UnixMilli(at).UTC().Format("2006-01-02T15:04:05.000Z")
	used := func(t storage.Token) bool { return t.LastUsed != t.Created }
	user := func(t storage.Token) storage.User { u, _ := c.UserByID(t.Owner); return u }
	lower := strings.ToLower
	switch c.rand.IntN(20) {
	case 0:
		return "user", c.UID(t.Owner), func(o storage.Token) bool { return o.Owner == t.Owner }
	case 1:
		return "source", u.Source, func(o storage.Token) bool { return user(o).Source == u.Source }
	case 2:
		text := pick(c, uid[1:5], "ALLEN", "ddis", "ght", t.ID.String()[3:6], "zoÉ", "ss")
		return "search", text, func(o storage.Token) bool {
			all := strings.ReplaceAll(lower(strings.Join([]string{c.UID(o.Owner), user(o).Name, o.Name, o.ID.String()}, "\x00")), "ß", "ss")
			return strings.Contains(all, lower(text))
		}
	case 3:
		text := pick(c, "NIGHT", "backup", "i", "nothing")
		return "name", text, func(o storage.Token) bool { return strings.Contains(lower(o.Name), lower(text)) }
	case 4:
		p := t.ID.String()[:1+c.rand.IntN(10)]
		return "id", strings.ToUpper(p), func(o storage.Token) bool { return strings.HasPrefix(o.ID.String(), p) }
	case 5:
		return "idle", span, func(o storage.Token) bool { return o.LastUsed <= ago }
	case 6:
		return "never-used", "true", func(o storage.Token) bool { return !used(o) }
	case 7:
		return "used-after", when, func(o storage.Token) bool { return used(o) && o.LastUsed >= at }
	case 8:
		return "used-before", when, func(o storage.Token) bool { return o.LastUsed < at }
	case 9:
		return "created-after", when, func(o storage.Token) bool { return o.Created >= at }
	case 10:
		return "created-before", span, func(o storage.Token) bool { return o.Created < ago }
	case 11:
		return "created-by", strings.ToUpper(t.By), func(o storage.Token) bool { return o.By == t.By }
	case 12, 13:
		net := pick(c, "10.0.0.0/8", "10.1.2.3", "192.0.2.0/24", "2001:db8::/32", "::ffff:192.0.2.8", "198.51.100.0/24")
		p := map[string]string{"10.1.2.3": "10.1.2.3/32", "::ffff:192.0.2.8": "192.0.2.8/32"}[net]
		if p == "" {
			p = net
		}
		return "from", net, func(o storage.Token) bool {
			return slices.ContainsFunc(o.Usage.Seen, func(s storage.Seen) bool {
				return netip.MustParsePrefix(p).Contains(s.Address.Unmap())
			})
		}
	case 14:
		s := pick(c, "files", "deploy", "none")
		return "scope", s, func(o storage.Token) bool { return slices.Contains(o.Scopes, s) }
	case 15:
		return "unlimited", "true", func(o storage.Token) bool { return o.Expires == 0 && o.Scopes == nil && o.Addresses == nil }
	case 16:
		return "address-limited", "true", func(o storage.Token) bool { return len(o.Addresses) > 0 }
	case 17:
		return "expires-within", span, func(o storage.Token) bool {
			return c.state(o) == "live" && o.Expires != 0 && o.Expires <= ms(noon)+int64(days)*24*3600*1000
		}
	}
	if c.rand.IntN(2) == 0 {
		who := pick(c, "ada@example.com", "zoé@example.com", "bob@example.com")
		return "owner", strings.ToUpper(who), func(o storage.Token) bool { return slices.Contains(owned[who], c.UID(o.Owner)) }
	}
	state := pick(c, "live", "expired", "suspended", "revoked")
	return "state", state, func(o storage.Token) bool { return c.state(o) == state }
}

func (c *town) state(t storage.Token) string {
	switch u, err := c.UserByID(t.Owner); {
	case t.Revoked != 0, err != nil, u.State == storage.UserRemoved:
		return "revoked"
	case t.Expires != 0 && t.Expires <= noon.UnixMilli():
		return "expired"
	case u.State != storage.UserActive:
		return "suspended"
	}
	return "live"
}

func ids(list []storage.Token) []string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.ID.String()
	}
	return out
}

// paged lists page by page.
func (c *town) paged(q query.Tokens, p query.Page) (got []storage.Token) {
	c.Helper()
	for {
		n := 0
		for t, err := range c.Tokens(c.Context(), q, p) {
			if err != nil {
				c.Fatalf("%s: %v", q, err)
			}
			got = append(got, t)
			if p.After = (storage.Place{At: t.LastUsed, ID: t.ID}); p.Order == storage.ByCreated {
				p.After.At = t.Created
			}
			n++
		}
		if p.Limit == 0 || n < p.Limit {
			return got
		}
	}
}

func (c *town) Tokens(ctx context.Context, q query.Tokens, p query.Page) func(func(storage.Token, error) bool) {
	return c.Reader.Tokens(ctx, q, p)
}

// TestFilters compares each filter alone, in pairs and in threes with a naive reading of
// all tokens: listed whole and by pages, in each order, counted, and found to be revoked.
func TestFilters(t *testing.T) {
	storagetest.Slow(t)
	c := newTown(t, 7, 700)
	c.clock.Set(noon)
	var all []storage.Token
	for tk := range must.All(c.Store.Tokens(storage.TokenFilter{Revoked: true}))(t) {
		all = append(all, tk)
	}
	seen := map[string]int{}
	for n := range 600 {
		f := api.Filters{}
		takes := []func(storage.Token) bool{}
		for range 1 + n%3 {
			name, value, fn := c.filter(all)
			if _, ok := f[name]; ok || name == "user" && c.UID(all[0].Owner) == "" {
				continue
			}
			f[name], takes = []string{value}, append(takes, fn)
		}
		c.compare(f, takes, all, seen)
	}
	for _, form := range api.TokenFilters {
		if seen[form.Name] == 0 {
			t.Errorf("%s never took a token", form.Name)
		}
	}
}

func (c *town) compare(f api.Filters, takes []func(storage.Token) bool, all []storage.Token, seen map[string]int) {
	c.Helper()
	q, err := parser().Tokens(f, "")
	if err != nil {
		c.Fatalf("%v: %v", f, err)
	}
	if u := f["user"]; u != nil {
		if _, err := c.User(u[0]); err != nil { // a removed one
			if _, got := c.Count(c.Context(), q, true); !errors.Is(got, storage.ErrNoUser) {
				c.Errorf("%v: got %v, want that there is no such user", f, got)
			}
			return
		}
	}
	p := query.Page{Order: pick(c, storage.ByLastUsed, storage.ByCreated), Reverse: c.rand.IntN(2) == 0, Dead: c.rand.IntN(2) == 0, Limit: pick(c, 0, 7, 100)}
	dead := p.Dead || slices.Equal(f["state"], []string{"revoked"})
	var want, alive []storage.Token
	for _, t := range all {
		ok := !slices.ContainsFunc(takes, func(fn func(storage.Token) bool) bool { return !fn(t) })
		if ok && (dead || c.state(t) != "revoked") {
			want = append(want, t)
		}
		if ok && c.state(t) != "revoked" {
			alive = append(alive, t)
		}
	}
	slices.SortFunc(want, func(a, b storage.Token) int {
		at := func(t storage.Token) string {
			if p.Order == storage.ByCreated {
				return fmt.Sprintf("%015d%s", t.Created, t.ID)
			}
			return fmt.Sprintf("%015d%s", t.LastUsed, t.ID)
		}
		if p.Reverse {
			a, b = b, a
		}
		return strings.Compare(at(a), at(b))
	})
	if got := c.paged(q, p); !slices.Equal(ids(got), ids(want)) {
		c.Errorf("%v, %+v: got %d tokens, want %d", f, p, len(got), len(want))
	}
	if n, err := c.Count(c.Context(), q, p.Dead); n != len(want) || err != nil {
		c.Errorf("%v: counted %d, %v, want %d", f, n, err, len(want))
	}
	m, err := c.Match(c.Context(), q)
	var doomed []string
	for _, id := range m.IDs {
		doomed = append(doomed, id.String())
	}
	if slices.Sort(doomed); err != nil || !slices.Equal(doomed, slices.Sorted(slices.Values(ids(alive)))) {
		c.Errorf("%v: would revoke %d, %v, want %d", f, len(doomed), err, len(alive))
	}
	if len(want) > 0 {
		for name := range maps.Keys(f) {
			seen[name]++
		}
	}
}

// TestNearUser: in words, the beginning of a uid will do, unless it is a whole one.
func TestNearUser(t *testing.T) {
	c := newTown(t, 3, 200)
	for words, want := range map[string][]string{
		"user:ada":               {"ada.b@example.com", "ada@example.com"},
		"user:ADA@example.com":   {"ada@example.com"},
		"user:ada.":              {"ada.b@example.com"},
		"user:nobody":            nil,
		"user:deploy":            {"deploy@service"},
		"owner:ada":              {"deploy@service", "report@service"},
		"owner:ada@EXAMPLE.com":  {"deploy@service", "report@service"},
		"owner:nobody":           nil,
		"owner:bob":              nil,
		"owner:z":                {"backup@service"},
		"owner:dead":             nil,
		"owner:ada user:report":  {"report@service"},
		"owner:zo user:report":   nil,
		"user:ada source:ldap":   {"ada.b@example.com"},
		"source:LOCAL unlimited": {"ada@example.com", "stopped@example.com"},
	} {
		q := must.Get(parser().Tokens(nil, words))(t)
		got := map[string]bool{}
		for _, tk := range c.paged(q, query.Page{Limit: 9}) {
			got[c.UID(tk.Owner)] = true
		}
		if !slices.Equal(slices.Sorted(maps.Keys(got)), want) {
			t.Errorf("%s: got tokens of %v, want %v", words, slices.Sorted(maps.Keys(got)), want)
		}
	}
	for _, flag := range []string{"user", "owner"} {
		q, _ := parser().Tokens(api.Where(flag, "ada"), "")
		if _, err := c.Count(t.Context(), q, false); !errors.Is(err, storage.ErrNoUser) {
			t.Errorf("got %v: a flag names a user in full", err)
		}
	}
}

func TestUsers(t *testing.T) {
	c := newTown(t, 3, 20)
	for words, want := range map[string]string{
		"":                     "ada.b ada backup bob deploy lost report stopped zoé",
		"allen":                "bob",
		"LEN":                  "bob stopped",
		"lovelace ada":         "ada",
		"prefix:ada":           "ada.b ada",
		"source:ldap":          "ada.b bob",
		"source:ldap prefix:b": "bob",
		"state:disabled":       "stopped",
		"state:suspended":      "",
		"source:service":       "backup deploy lost report",
		"locked":               "bob",
		"locked state:active":  "bob",
		"zoÉ":                  "zoé",

		"state:unverified":             "ada.b backup bob deploy lost report zoé",
		"state:unverified source:ldap": "ada.b bob",
		"state:unverified locked":      "bob",
		"SSmith":                       "zoé",
	} {
		q := must.Get(parser().Users(nil, words))(t)
		var got []string
		for p := (storage.UserFilter{Order: storage.ByName}); ; {
			n := 0
			for u := range must.All(c.Reader.Users(t.Context(), q, p, 2))(t) {
				name, _, _ := strings.Cut(u.UID, "@")
				got, p.After.UID = append(got, name), u.UID
				n++
			}
			if n < 2 {
				break
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %v, want %s", words, got, want)
		}
		if n, err := c.Reader.CountUsers(t.Context(), q); n != len(got) || err != nil {
			t.Errorf("%q: counted %d, %v, want %d", words, n, err, len(got))
		}
	}
}

// TestGivenUp: a scan ends with its context, and soon.
func TestGivenUp(t *testing.T) {
	c := newTown(t, 5, 400)
	q := must.Get(parser().Tokens(nil, "no-token-is-called-so"))(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Count(ctx, q, false); !errors.Is(err, context.Canceled) {
		t.Errorf("count: got %v", err)
	}
	if _, err := c.Match(ctx, q); !errors.Is(err, context.Canceled) {
		t.Errorf("match: got %v", err)
	}
	u, _ := parser().Users(nil, "nobody")
	if _, err := c.Reader.CountUsers(ctx, u); !errors.Is(err, context.Canceled) {
		t.Errorf("users: got %v", err)
	}
}

// TestRevokeAgain: a token that no longer matches at its turn is left alone.
func TestRevokeAgain(t *testing.T) {
	c := newTown(t, 9, 0)
	var made []storage.Token
	var secrets []string
	for range 4 {
		tk, secret := must.Get2(c.CreateToken(root, c.users[0].ID, storage.TokenSpec{Name: "nightly", Lifetime: 1 << 40}))(t)
		made, secrets = append(made, tk), append(secrets, secret.Reveal())
		c.clock.Pass(time.Second)
	}
	q := must.Get(parser().Tokens(nil, `nightly never-used name:night expires-within:40y`))(t)
	m, err := c.Match(t.Context(), q)
	if err != nil || len(m.IDs) != 4 {
		t.Fatalf("got %d, %v", len(m.IDs), err)
	}
	must.Get(c.Authenticate(secrets[1], storage.Origin{Address: netip.MustParseAddr("10.0.0.1")}))(t)
	must.Do(t, c.RenameToken(root, made[2].ID, "hourly"))
	if n, err := m.Revoke(c.Store, root, m.IDs); n != 2 || err != nil {
		t.Errorf("revoked %d, %v, want the two that still match", n, err)
	}
	for n, dead := range []bool{true, false, false, true} {
		if tk, err := c.Token(made[n].ID); (tk.Revoked != 0) != dead || err != nil {
			t.Errorf("token %d: revoked %d, %v", n, tk.Revoked, err)
		}
	}
}

// TestSets: sets of one size differ.
func TestSets(t *testing.T) {
	a, b := storage.ID{1, 2, 3, 4, 5}, storage.ID{1, 2, 3, 4, 6}
	if query.SetOf([]storage.ID{a}).String() == query.SetOf([]storage.ID{b}).String() {
		t.Error("two tokens are one")
	}
	if query.SetOf([]storage.ID{a, b}) != query.SetOf([]storage.ID{b, a}) {
		t.Error("the order counts")
	}
}
