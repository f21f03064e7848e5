package verify_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/verify"
)

var (
	home     = netip.MustParseAddr("192.0.2.1")
	far      = netip.MustParseAddr("198.51.100.1")
	errBroke = errors.New("the disk does not answer")
)

// fixture is a table and records without a store.
type fixture struct {
	*verify.Verifier
	tokens  *keys.Tokens
	table   *table.Table
	records map[keys.ID]record.Token
	now     int64
	read    int // records read
	retired int // generations
	stale   int // uses of ended secrets
	waited  bool
	sudden  int // waits for the disk that were not announced
	broken  error
}

func start() *fixture {
	f := &fixture{
		tokens: keys.Ring{Current: 1, Tokens: map[byte][32]byte{1: {2}}}.TokenKeys(),
		table:  table.New(), records: map[keys.ID]record.Token{}, now: 1000,
	}
	f.Verifier = verify.New(verify.Options{
		Keys: f.tokens, Owners: f.table.Owners, Now: func() int64 { return f.now },
		Find: func(id keys.ID, _ func()) (table.Entry, bool, error) {
			e, ok, _ := f.table.Get(id)
			return e, ok, nil
		},
		Read: func(id keys.ID) (record.Token, error) {
			f.read++
			f.disk()
			return f.records[id], f.broken
		},
		Retire:   func(keys.ID, byte) error { f.retired++; f.disk(); return f.broken },
		EndedUse: func(keys.ID, string, netip.Addr) { f.stale++ },
	})
	return f
}

func (f *fixture) disk() {
	if !f.waited {
		f.sudden++
	}
}

// verify verifies a use.
func (f *fixture) verify(text string) (verify.Bearer, table.Entry, error) {
	f.waited = false
	return f.Verify(text, home, func() { f.waited = true })
}

// add adds a token of a user, and returns its text.
func (f *fixture) add(owner record.Owner, v record.Token) string {
	v.ID, v.Owner = f.tokens.NewID(), owner.ID
	f.set(f.table.Owners.Set(owner), v)
	return f.tokens.Secret(v.ID, v.Generation).Reveal()
}

func (f *fixture) set(owner uint32, v record.Token) {
	f.records[v.ID] = v
	f.table.Put(table.Entry{ID: v.ID, Owner: owner, Generation: v.Generation, Flags: v.Flags()})
}

var alice = record.Owner{ID: 7, UID: "alice@example.com", State: record.UserActive}

func TestInspect(t *testing.T) {
	net := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for name, c := range map[string]struct {
		state  record.UserState
		token  record.Token
		text   func(text string) string
		refuse bool
		read   int
	}{
		"live":                  {},
		"with a scope":          {token: record.Token{Scopes: []string{"x"}}, read: 1},
		"from its network":      {token: record.Token{Addresses: net}, read: 1},
		"not from its network":  {token: record.Token{Addresses: []netip.Prefix{netip.PrefixFrom(far, 32)}}, refuse: true, read: 1},
		"before its end":        {token: record.Token{Expires: 1001}, read: 1},
		"at its end":            {token: record.Token{Expires: 1000}, refuse: true, read: 1},
		"of a disabled user":    {state: record.UserDisabled, refuse: true},
		"of a removed user":     {state: record.UserRemoved, refuse: true},
		"empty":                 {text: func(string) string { return "" }, refuse: true},
		"cut short":             {text: func(s string) string { return s[:255] }, refuse: true},
		"in capitals":           {text: strings.ToUpper, refuse: true},
		"one character changed": {text: func(s string) string { return s[:100] + string("10"[s[100]&1]) + s[101:] }, refuse: true},
		"a token of another key": {text: func(string) string {
			return keys.Ring{Current: 1, Tokens: map[byte][32]byte{1: {3}}}.TokenKeys().Secret(keys.NewID(1), 0).Reveal()
		}, refuse: true},
		"one that is not there": {text: func(string) string {
			return keys.Ring{Current: 1, Tokens: map[byte][32]byte{1: {2}}}.TokenKeys().Secret(keys.NewID(1), 0).Reveal()
		}, refuse: true},
	} {
		t.Run(name, func(t *testing.T) {
			f, owner := start(), alice
			owner.State = max(owner.State, c.state)
			text := f.add(owner, c.token)
			if c.text != nil {
				text = c.text(text)
			}
			b, _, err := f.verify(text)
			if c.refuse && (!errors.Is(err, verify.ErrRefused) || b != verify.Bearer{}) || !c.refuse && (err != nil || b.UID != alice.UID || b.Owner != alice.ID || b.Limited() != (c.read > 0)) {
				t.Errorf("got %+v, %v, want it refused: %t", b, err, c.refuse)
			}
			if f.read != c.read {
				t.Errorf("%d records were read, want %d", f.read, c.read)
			}
			if f.sudden > 0 || f.waited != (c.read > 0) {
				t.Errorf("a wait was announced: %t, and %d were not", f.waited, f.sudden)
			}
		})
	}
}

// The record of a limited token is read once, until Forget says that it has changed. A
// record that was read before the change is not kept.
func TestForget(t *testing.T) {
	f := start()
	text := f.add(alice, record.Token{Scopes: []string{"x"}})
	want := func(step string, reads int, scope string) {
		t.Helper()
		b, _, err := f.verify(text)
		if err != nil || f.read != reads || b.Token.Scopes[0] != scope {
			t.Errorf("%s: got %+v, %v after %d reads, want %d", step, b, err, f.read, reads)
		}
		if f.sudden > 0 || f.waited != (step != "again") {
			t.Errorf("%s: a wait was announced: %t, and %d were not", step, f.waited, f.sudden)
		}
	}
	want("first", 1, "x")
	want("again", 1, "x")
	id, _, _ := f.tokens.Identify(text)
	v := f.records[id]
	v.Scopes = []string{"y"}
	f.records[id] = v
	f.Forget(id)
	want("changed", 2, "y")
	f.Forget(id)
	f.broken = errBroke
	if b, _, err := f.verify(text); !errors.Is(err, errBroke) || errors.Is(err, verify.ErrRefused) {
		t.Errorf("a record that can't be read: got %+v, %v", b, err)
	}
	f.broken = nil
	want("read again", 4, "y")
}

// After a rotation the old secret is valid until the overlap ends or the new secret is
// used, which must be durable. An ended secret is reported, once a minute.
func TestRotated(t *testing.T) {
	f := start()
	old := f.add(alice, record.Token{})
	id, _, _ := f.tokens.Identify(old)
	v := f.records[id]
	_, n, _ := f.table.Owners.Find(alice.ID)
	v.Generation, v.Overlap = 1, 5000
	f.set(n, v)
	young := f.tokens.Secret(id, 1).Reveal()
	want := func(step, text string, use bool, err error, retired, stale int) {
		t.Helper()
		f.waited = true // nobody is told by Inspect
		_, got := f.Inspect(text)
		if use {
			_, _, got = f.verify(text)
		}
		if f.sudden > 0 {
			t.Errorf("%s: %d waits were not announced", step, f.sudden)
		}
		if !errors.Is(got, err) || f.retired != retired || f.stale != stale {
			t.Errorf("%s: got %v, %d retired, %d stale, want %v, %d, %d", step, got, f.retired, f.stale, err, retired, stale)
		}
	}
	want("the old one, during the overlap", old, true, nil, 0, 0)
	want("the new one, only inspected", young, false, nil, 0, 0)
	f.broken = errBroke
	want("the new one, but the end of the old one can't be written", young, true, errBroke, 1, 0)
	f.broken = nil
	want("the new one", young, true, nil, 2, 0)
	f.now = 5000
	want("the old one, after the overlap", old, true, verify.ErrRefused, 2, 1)
	want("at once again", old, true, verify.ErrRefused, 2, 1)
	f.now += 60_000
	want("a minute later", old, true, verify.ErrRefused, 2, 2)
	v.Overlap = 0
	f.set(n, v)
	f.Forget(id)
	f.now += 60_000
	want("the old one, ended", old, true, verify.ErrRefused, 2, 3)
	want("the new one, alone", young, true, nil, 2, 3)
}
