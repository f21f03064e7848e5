package server_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/ldap"
	"gatehouse/ldap/ldaptest"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// The states that TestVerdicts puts its people in.
const (
	isGood     = iota
	mustChange // which stops no tokens
	isDisabled
	isLocked
	hasExpired
	isOutsider // not in required_group
	isGuest    // not matched by filter
	isMissing  // not under base_dn
	states
)

var stateNames = [states]string{"good", "must change", "disabled", "locked", "expired", "outsider", "guest", "missing"}

// second is another entry of eva's. She may log in if either of them may.
const second = "eva2"

// proven reports whether the person's own entry gives the reason to stop.
func proven(state int) bool { return state == isDisabled || state == isLocked || state == hasExpired }

// verdictWorld is a directory with a handful of people in random states, and two
// servers that spoil answers at random.
type verdictWorld struct {
	h       *house
	s       *ldaptest.Slapd
	group   string
	rng     *rand.Rand
	people  []string
	subject map[string]string
	state   map[string]int
	trail   []string // what was done, for a failure

	// What is left open in the tree itself.
	referral, noGroup, noBase bool

	mu     sync.Mutex
	share  [2]float64      // how often each server spoils an answer
	focus  question        // which searches are spoiled
	clean  [2]bool         // it has spoiled none in this sweep
	whole  bool            // a server has answered in full who is there
	shown  map[string]bool // by subject: the entry that shows the person's state got through
	faults map[string]int  // how often each kind was met
}

// TestVerdicts: random directories, random partial failures. Nobody is suspended if the
// person's own entry is good, nobody gets by if that entry proves a stop, and nobody is
// removed while anything is in doubt. If nothing is in doubt, everybody's state is as the
// directory says.
func TestVerdicts(t *testing.T) {
	for name, group := range map[string]string{"the entry names its groups": ldaptest.Staff, "the group names its members": "cn=board,ou=groups," + ldaptest.Base} {
		t.Run(name, func(t *testing.T) { testVerdicts(t, group) })
	}
}

func testVerdicts(t *testing.T, group string) {
	seed := rand.Uint64()
	w := newVerdictWorld(t, seed, group)
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	for round := range rounds {
		w.shuffle()
		for range 2 + w.rng.IntN(3) {
			w.sweep()
		}
		if round%3 == 0 {
			w.settle()
		}
		if t.Failed() {
			t.Fatalf("seed %d, round %d: %s", seed, round, strings.Join(w.trail, "\n"))
		}
	}
	for _, kind := range []string{"code", "cut", "partial", "reference"} {
		if w.faults[kind] == 0 {
			t.Errorf("no answer was spoiled by a %s: the test proves less than it says", kind)
		}
	}
}

func newVerdictWorld(t *testing.T, seed uint64, group string) *verdictWorld {
	s := ldaptest.Start(t, ldaptest.WithoutTLS)
	w := &verdictWorld{
		s: s, group: group, rng: rand.New(rand.NewPCG(seed, seed)), faults: map[string]int{},
		subject: map[string]string{}, state: map[string]int{}, shown: map[string]bool{},
	}
	// The library's only limit is a package variable, which New sets once: before any
	// proxy reads a packet.
	d := must.Get(ldap.New(ldap.Config{URLs: []string{"ldap://" + s.Addr}, Insecure: true, BaseDN: ldaptest.People}, slog.New(slog.NewTextHandler(io.Discard, nil))))(t)
	d.Close()
	var urls []string
	for i := range w.share {
		urls = append(urls, "ldap://"+ldaptest.NewProxy(t, s.Addr, func(q ldaptest.Search) ldaptest.Fault { return w.spoil(i, q) }).Addr)
	}
	w.h = newHouse(t, func(c *config.Config) {
		roomy(c)
		c.LDAP = &config.LDAP{
			URLs: urls, Insecure: true, BaseDN: ldaptest.People, Timeout: config.Interval{Duration: unhurried},
			BindDN: ldaptest.Reader, BindPasswordFile: s.File("reader", ldaptest.ReaderPassword+"\n"),
			Filter: "(&(uid={username})(!(employeeType=guest)))", RequiredGroup: group,
		}
	})
	t.Cleanup(func() { w.h.Directory().Close() })
	w.people = []string{"ada", "ben", "cyd", "dee", "eva"} // no more than the brake lets through
	for _, uid := range append(w.people, second) {
		s.AddPerson(uid, uid+"@example.org")
		w.subject[uid] = s.Subject(ldaptest.Person(uid))
	}
	w.h.addUser("eva@example.org", password) // a local user who is linked, to two entries
	for _, uid := range []string{"eva", second} {
		must.Get(w.h.admin.LinkUser(t.Context(), "eva@example.org", api.Link{Identity: api.Identity{Source: "ldap", Subject: w.subject[uid]}}))(t)
	}
	return w
}

// question is what a search is about.
type question int

const (
	anyQuestion   question = iota
	whoIsThere             // and how they stand
	filterMatches          // of those who are
	inTheGroup
	theTree // whether there is a base_dn, and anybody beneath it
	questions
)

func about(q ldaptest.Search) question {
	switch {
	case slices.Contains(q.Attributes, "userAccountControl"):
		return whoIsThere
	case strings.Contains(q.Base, "ou=groups") || strings.Contains(q.Filter, "memberOf"):
		return inTheGroup
	case strings.Contains(q.Filter, "employeeType"):
		return filterMatches
	}
	return theTree
}

// spoil decides on the answer to one search of one server.
func (w *verdictWorld) spoil(server int, q ldaptest.Search) (f ldaptest.Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	first := about(q) == whoIsThere
	if first {
		f.Delivered = func(e *goldap.Entry) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.shown[strings.ToLower(e.GetAttributeValue("entryUUID"))] = true
		}
	}
	if w.rng.Float64() >= w.share[server] || w.focus != anyQuestion && w.focus != about(q) {
		w.whole = w.whole || first
		return f
	}
	w.clean[server] = false
	codes := []uint16{
		goldap.LDAPResultSizeLimitExceeded, // twice as often: it has the batch halved
		goldap.LDAPResultOperationsError, goldap.LDAPResultTimeLimitExceeded, goldap.LDAPResultSizeLimitExceeded, goldap.LDAPResultReferral,
		goldap.LDAPResultAdminLimitExceeded, goldap.LDAPResultNoSuchObject, goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultBusy,
		goldap.LDAPResultUnavailable, goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultOther,
	}
	kind := []string{"code", "cut", "partial", "reference"}[w.rng.IntN(4)]
	w.faults[kind]++
	none := func(int) bool { return false }
	some := w.rng.Uint64()
	switch kind {
	case "code":
		f.Code, f.Keep = codes[w.rng.IntN(len(codes))], none
	case "cut":
		f.Cut, f.Keep = true, none
	case "partial":
		f.Code, f.Keep = codes[w.rng.IntN(len(codes))], func(n int) bool { return some>>n&1 == 1 }
	case "reference":
		// The people whom the first search found are on this server, even if it refers to
		// another.
		f.Refer, f.Keep = true, func(n int) bool { return !first || some>>n&1 == 1 }
	}
	w.trail = append(w.trail, fmt.Sprintf("  server %d spoils %s %.60s: %s %d %b", server, q.Base, q.Filter, kind, f.Code, some&31))
	return f
}

// sweep sweeps once, with random faults, and checks what it did.
func (w *verdictWorld) sweep() {
	w.h.Helper()
	shares := []float64{0, 0.2, 0.5, 0.9}
	w.mu.Lock()
	w.share = [2]float64{shares[w.rng.IntN(4)], shares[w.rng.IntN(4)]}
	w.focus = question(w.rng.IntN(int(questions)))
	w.clean, w.whole = [2]bool{true, true}, false
	clear(w.shown)
	w.mu.Unlock()
	before := w.standing()
	w.h.sweep(1)
	after := w.standing()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trail = append(w.trail, fmt.Sprintf("sweep: %v -> %v", before, after))
	for _, uid := range w.people {
		now, state := after[uid], w.stateOf(uid)
		if before[uid] == "" {
			continue // removed by an earlier sweep
		}
		good := state == isGood || state == mustChange
		told := func(what string) {
			w.h.Helper()
			w.h.Errorf("%s is %s, and was %s: %s", uid, stateNames[state], before[uid], what)
		}
		if good && now != api.StateActive && now != before[uid] {
			told("now " + now)
		}
		if state == isOutsider && w.noGroup && now == api.StateSuspended && before[uid] == api.StateActive {
			told("suspended by a group that can't be read")
		}
		if told := w.clean[0] || w.clean[1]; told && !w.noBase && now != api.StateSuspended && uid != "eva" &&
			(proven(state) || state == isGuest || state == isOutsider && !w.noGroup) {
			w.h.Errorf("%s is %s, and still %s", uid, stateNames[state], now)
		}
		if proven(state) && w.shown[w.subject[uid]] && (uid != "eva" || proven(w.state[second]) && w.shown[w.subject[second]]) && now != api.StateSuspended {
			told("now " + now + ", though the entry was seen")
		}
		if now == "" && (state != isMissing || w.doubt()) {
			told("removed in doubt")
		}
		if now == "" && uid == "eva" {
			told("removed, though there is another identity")
		}
		if state == isMissing && now != before[uid] && w.doubt() && uid != "eva" {
			told("now " + now + ", in doubt")
		}
	}
}

// doubt reports whether something was left open: in the tree, by servers that did not
// tell in full who is there, or because the sweep itself says so.
func (w *verdictWorld) doubt() bool {
	return w.referral || w.noGroup || w.noBase || !w.whole || w.h.Directory().InDoubt()
}

// settle removes the doubt: after two sweeps everybody's state is as the directory says.
func (w *verdictWorld) settle() {
	w.h.Helper()
	w.set(false, false, false)
	w.mu.Lock()
	w.share = [2]float64{}
	w.mu.Unlock()
	w.h.sweep(2)
	after := w.standing()
	w.trail = append(w.trail, fmt.Sprintf("settled: %v", after))
	for _, uid := range w.people {
		want := api.StateSuspended
		switch state := w.stateOf(uid); {
		case state == isGood || state == mustChange:
			want = api.StateActive
		case state == isMissing && uid != "eva":
			want = ""
		}
		if after[uid] != want {
			w.h.Errorf("%s is %s: got %q, want %q", uid, stateNames[w.stateOf(uid)], after[uid], want)
		}
	}
}

// stateOf returns what all the entries of a person say together.
func (w *verdictWorld) stateOf(uid string) int {
	if other := w.state[second]; uid == "eva" && (other == isGood || other == mustChange) {
		return other
	}
	return w.state[uid]
}

// standing returns the state of each user; empty for a removed one.
func (w *verdictWorld) standing() map[string]string {
	w.h.Helper()
	list := map[string]string{}
	for u, err := range w.h.admin.Users(w.h.Context(), api.UserQuery{}) {
		if err != nil {
			w.h.Fatal(err)
		}
		if uid, mail, _ := strings.Cut(u.UID, "@"); mail == "example.org" {
			list[uid] = u.State
		}
	}
	return list
}

// shuffle gives everybody another state, and the tree other faults. A person who was
// removed becomes a user again, with a token.
func (w *verdictWorld) shuffle() {
	w.h.Helper()
	w.set(false, false, false)
	entries := append(slices.Clone(w.people), second)
	for _, uid := range entries {
		w.place(uid, isGood)
	}
	for _, uid := range w.people {
		u, err := w.h.store.LogIn(storage.Actor{}, storage.Login{
			Identity: storage.Identity{Source: storage.SourceLDAP, Subject: w.subject[uid]}, Addresses: []string{uid + "@example.org"},
		})
		if err == nil {
			_, _, err = w.h.store.CreateToken(storage.Actor{}, u.ID, storage.TokenSpec{})
		}
		if err != nil {
			w.h.Fatal(err)
		}
	}
	var members []string
	for _, uid := range entries {
		if w.rng.IntN(2) == 0 {
			w.state[uid] = w.rng.IntN(states)
		} else if w.rng.IntN(3) == 0 {
			w.state[uid] = isMissing
		} else {
			w.state[uid] = isGood
		}
		if w.state[uid] != isOutsider {
			members = append(members, ldaptest.Person(uid))
		}
	}
	attribute := map[bool]string{true: "member", false: "uniqueMember"}[w.group == ldaptest.Staff]
	w.s.Modify(w.group, attribute, append(members, ldaptest.Person("alice"))...)
	for _, uid := range entries {
		w.place(uid, w.state[uid])
	}
	w.set(w.rng.IntN(5) == 0, w.rng.IntN(5) == 0, w.rng.IntN(8) == 0)
	told := fmt.Sprintf("shuffled: referral %t, no group %t, no base %t", w.referral, w.noGroup, w.noBase)
	for _, uid := range entries {
		told += ", " + uid + " " + stateNames[w.state[uid]]
	}
	w.trail = []string{told}
}

// place changes the person's entry to what a state means, except for the group.
func (w *verdictWorld) place(uid string, state int) {
	w.h.Helper()
	home, away := ldaptest.Person(uid), "uid="+uid+",ou=elsewhere,"+ldaptest.Base
	if w.state[uid] == isMissing && state != isMissing {
		w.s.Move(away, home)
	}
	w.s.Do(func(c *goldap.Conn) error {
		m := goldap.NewModifyRequest(home, nil)
		values := func(in int, value string) []string {
			if state == in {
				return []string{value}
			}
			return nil
		}
		lock := slices.Concat(values(isDisabled, "000001010000Z"), values(isLocked, "20250101000000Z"))
		m.Replace("pwdAccountLockedTime", lock)
		m.Replace("pwdEndTime", values(hasExpired, "20200101000000Z"))
		m.Replace("pwdReset", values(mustChange, "TRUE"))
		m.Replace("employeeType", values(isGuest, "guest"))
		return c.Modify(m)
	})
	if state == isMissing {
		w.s.Move(home, away)
	}
	w.state[uid] = state
}

// set gives the tree the faults that leave something open.
func (w *verdictWorld) set(referral, noGroup, noBase bool) {
	w.h.Helper()
	const moved = "ou=moved," + ldaptest.Base
	if w.noBase && !noBase {
		w.s.Move(moved, ldaptest.People)
	}
	branch := "ou=branch," + ldaptest.People
	switch {
	case referral && !w.referral:
		w.s.Add(branch, map[string][]string{"objectClass": {"referral", "extensibleObject"}, "ou": {"branch"}, "ref": {"ldap://branch.example.org/" + ldaptest.People}})
	case !referral && w.referral:
		w.s.Do(func(c *goldap.Conn) error {
			return c.Del(goldap.NewDelRequest(branch, []goldap.Control{goldap.NewControlManageDsaIT(true)}))
		})
	}
	const renamed = "cn=moved,ou=groups," + ldaptest.Base
	switch {
	case noGroup && !w.noGroup:
		w.s.Move(w.group, renamed)
	case !noGroup && w.noGroup:
		w.s.Move(renamed, w.group)
	}
	if noBase && !w.noBase {
		w.s.Move(ldaptest.People, moved)
	}
	w.referral, w.noGroup, w.noBase = referral, noGroup, noBase
}
