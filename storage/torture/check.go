package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"gatehouse/storage"
)

var home = storage.Origin{Address: netip.MustParseAddr("192.0.2.7")}

// checker compares a store with a ledger.
type checker struct {
	*ledger
	s        *storage.Store
	whole    bool // also list the revoked tokens; there may be many
	tolerant bool // accept errors in place of answers, until the store has noticed damage
	errors   int  // how many errors it accepted
	wrong    []string
}

func (c *checker) badf(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

// failed handles an error in place of an answer.
func (c *checker) failed(what string, err error) {
	c.errors++
	if !c.tolerant {
		c.badf("%s: %v", what, err)
	}
}

// all compares everything, once at the start and again when the table is
// loaded.
func (c *checker) all() {
	c.inFlight()
	c.uses()
	c.authenticate("at once")
	if !c.loaded() {
		return
	}
	c.authenticate("loaded")
	c.listings()
	if c.whole {
		c.everything()
	}
	c.limit()
	c.events()
}

// loaded waits for the table. It returns false if the store finds damage
// instead.
func (c *checker) loaded() bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-c.s.Loaded():
			return true
		case <-tick.C:
			if err := c.s.Writable(); errors.Is(err, storage.ErrDamaged) {
				c.failed("load", err)
				return false
			}
		}
	}
}

// inFlight finds out which of the changes in flight have happened, and enters
// those into the ledger.
func (c *checker) inFlight() {
	for w, o := range c.Open {
		delete(c.Open, w)
		u, err := c.s.User(o.Of)
		switch o.Verb {
		case "add":
			if err == nil {
				c.Users[o.Of] = &account{ID: fmt.Sprintf("%016x", uint64(u.ID))}
			}
		case "disable", "enable":
			if err != nil {
				c.failed("user "+o.Of, err)
				continue
			}
			c.Users[o.Of].Disabled = u.State == storage.UserDisabled
		case "revoke":
			id, _ := storage.ParseID(o.Of)
			t, err := c.s.Token(id)
			dropped := errors.Is(err, storage.ErrNoToken)
			if dropped {
				dropped, err = c.s.WasRevoked(id)
			}
			if err != nil {
				c.failed("token "+o.Of, err)
				continue
			}
			c.Tokens[o.Of].Revoked = dropped || t.Revoked != 0
		case "create":
			c.findCreated(u, o)
		}
	}
}

func (c *checker) findCreated(u storage.User, o change) {
	list, err := tokensOf(c.s, storage.Owned{Owner: u.ID, Revoked: true})
	if err != nil {
		c.failed("tokens of "+o.Of, err)
	}
	for _, t := range list {
		if t.Name == o.Name {
			c.Tokens[t.ID.String()] = &holding{UID: o.Of, Secret: c.s.Reveal(t).Reveal()}
		}
	}
}

// tokensOf reads a user's tokens in pages so small that there are several.
func tokensOf(s *storage.Store, q storage.Owned) (list []storage.Token, err error) {
	q.Limit = 7
	for more := true; more && err == nil; more = q.After != (storage.Cursor{}) {
		var page []storage.Token
		page, q.After, err = s.Page(q)
		list = append(list, page...)
	}
	return list, err
}

// mostLost is the age in ms up to which a kill may lose a use.
const mostLost = 1000

// uses compares each token's last use with the ledger: only uses in the last second
// before a kill may be missing.
func (c *checker) uses() {
	for id, list := range c.Uses {
		parsed, _ := storage.ParseID(id)
		t, err := c.s.Token(parsed)
		if errors.Is(err, storage.ErrNoToken) && c.Tokens[id] != nil && c.Tokens[id].Revoked {
			continue // its record was dropped
		}
		if err != nil {
			c.failed("token "+id, err)
			continue
		}
		for _, u := range list {
			if u.Stored <= t.LastUsed {
				continue
			}
			age := c.Killed - u.At
			if c.Killed == 0 || age > mostLost {
				c.badf("token %s: a use of %d ms before the kill is lost", id, age)
			}
			c.Lost = max(c.Lost, age)
			break // the following ones are younger
		}
	}
	c.Uses, c.Killed = map[string][]use{}, 0
}

func (c *checker) authenticate(when string) {
	for id, h := range c.Tokens {
		b, err := c.s.Authenticate(h.Secret, home)
		live := !h.Revoked && !c.Users[h.UID].Disabled
		switch {
		case err != nil && !errors.Is(err, storage.ErrRefused):
			c.failed(when+": authenticate "+id, err)
		case live && err != nil:
			c.badf("%s: token %s is lost", when, id)
		case !live && err == nil:
			c.badf("%s: token %s is back, revoked %t, its user disabled %t", when, id, h.Revoked, !h.Revoked)
		case live && fmt.Sprintf("%016x", uint64(b.Owner)) != c.Users[h.UID].ID:
			c.badf("%s: token %s is another's", when, id)
		}
	}
}

// listings checks each user and the listing of its tokens.
func (c *checker) listings() {
	want := map[string]map[string]bool{} // uid, id: live
	for name := range c.Users {
		want[name] = map[string]bool{}
	}
	for id, h := range c.Tokens {
		want[h.UID][id] = !h.Revoked
	}
	for name, a := range c.Users {
		u, err := c.s.User(name)
		if err != nil {
			c.failed("user "+name, err)
			continue
		}
		if fmt.Sprintf("%016x", uint64(u.ID)) != a.ID || (u.State == storage.UserDisabled) != a.Disabled {
			c.badf("user %s is %016x in state %d, want %s, disabled %t", name, uint64(u.ID), u.State, a.ID, a.Disabled)
		}
		var all []storage.Token
		if c.whole {
			if all, err = tokensOf(c.s, storage.Owned{Owner: u.ID, Revoked: true}); err != nil {
				c.failed("tokens of "+name, err)
				continue
			}
		}
		live, err := tokensOf(c.s, storage.Owned{Owner: u.ID})
		if err != nil {
			c.failed("tokens of "+name, err)
			continue
		}
		c.compareListed(name, want[name], all, live)
	}
}

func (c *checker) compareListed(name string, want map[string]bool, all, live []storage.Token) {
	lives := 0
	for _, l := range want {
		if l {
			lives++
		}
	}
	if len(live) != lives {
		c.badf("%s: %d live tokens are listed, want %d", name, len(live), lives)
	}
	// The records of revoked tokens may have been dropped, except the latest
	// ones.
	if most, least := len(want), lives+min(len(want)-lives, storage.KeepRevoked); c.whole && (len(all) > most || len(all) < least) {
		c.badf("%s: %d tokens are listed, want %d to %d", name, len(all), least, most)
	}
	for _, t := range all {
		if l, ok := want[t.ID.String()]; !ok || l != (t.Revoked == 0) {
			c.badf("%s: token %s is listed, revoked at %d; known %t, live %t", name, t.ID, t.Revoked, ok, l)
		}
	}
	for _, t := range live {
		if !want[t.ID.String()] {
			c.badf("%s: token %s is listed as live", name, t.ID)
		}
	}
}

// everything checks the listings of all users and of all tokens.
func (c *checker) everything() {
	n := 0
	for u, err := range c.s.Users(storage.UserFilter{Order: storage.ByName}) {
		if err != nil {
			c.failed("users", err)
			return
		}
		if c.Users[u.UID] == nil {
			c.badf("user %s came from nowhere", u.UID)
		}
		n++
	}
	if n != len(c.Users) {
		c.badf("%d users are listed, want %d", n, len(c.Users))
	}
	n = 0
	for t, err := range c.s.Tokens(storage.TokenFilter{Revoked: true}) {
		if err != nil {
			c.failed("all tokens", err)
			return
		}
		if c.Tokens[t.ID.String()] == nil {
			c.badf("token %s came from nowhere", t.ID)
		}
		if t.Revoked == 0 {
			n++
		}
	}
	lives := 0
	for _, h := range c.Tokens {
		if !h.Revoked {
			lives++
		}
	}
	if n != lives { // listings counts the revoked ones of each user
		c.badf("%d live tokens are listed in all, want %d", n, lives)
	}
}

// limit tries to create a token for each user who has the maximum.
func (c *checker) limit() {
	held := map[string]int{}
	for _, h := range c.Tokens {
		if !h.Revoked {
			held[h.UID]++
		}
	}
	for name, n := range held {
		u, err := c.s.User(name)
		if n < holdMost || err != nil || u.State != storage.UserActive {
			continue
		}
		if t, _, err := c.s.CreateToken(by, u.ID, storage.TokenSpec{}); err == nil {
			c.badf("%s holds %d tokens and was given %s", name, n, t.ID)
		} else if !errors.Is(err, storage.ErrTooMany) {
			c.failed("the limit of "+name, err)
		}
	}
}

// events looks for the event of each change acknowledged since the last call.
func (c *checker) events() {
	err := c.s.Audit().VerifyChain(context.Background())
	if err != nil {
		c.failed("verify the audit log", err)
		return
	}
	fresh := map[string]int{}
	for k, n := range c.Fresh {
		fresh[k] = n
	}
	for e, err := range c.s.Audit().Events(context.Background(), c.Sequence) {
		if err != nil {
			c.failed("events", err)
			return
		}
		of := e.Token
		if of == "" {
			of = e.UID
		}
		fresh[e.Action+" "+of]--
	}
	for k, n := range fresh {
		if n > 0 {
			c.badf("the audit log misses %d events %s", n, k)
		}
		if n < -1 { // what was in flight may have happened
			c.badf("the audit log has %d events %s too many", -n, k)
		}
	}
	c.Sequence, c.Fresh = c.s.Audit().Last(), map[string]int{}
}
