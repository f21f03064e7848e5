package server

import (
	"container/list"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"sync"
	"time"

	"gatehouse/server/oauth"
)

// pending are the logins by browser that have begun and not yet come back. Each
// may come back once, to the browser and by the provider that it began with.
// They are kept in memory: a restart ends them.
type pending struct {
	now func() time.Time

	mu      sync.Mutex
	byState map[string]*list.Element
	order   list.List // of *pendingLogin, the oldest first
	from    map[string]int
}

type pendingLogin struct {
	oauth.Login
	provider string
	browser  [sha256.Size]byte // of the cookie
	from     string            // the network that it came from
	next     string
	expires  time.Time
}

const (
	pendingLife    = 10 * time.Minute
	maxPending     = 10_000
	maxPendingFrom = 64
)

var errManyPending = refuse(http.StatusServiceUnavailable, "Too many logins have begun: try again later")

// add keeps a login. A network with maxPendingFrom of them loses its oldest, so that
// it takes up nobody else's room. With maxPending in all, add fails.
func (p *pending) add(l *pendingLogin) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	for e := p.order.Front(); e != nil && !now.Before(e.Value.(*pendingLogin).expires); e = p.order.Front() {
		p.remove(e)
	}
	if p.from[l.from] >= maxPendingFrom {
		for e := p.order.Front(); e != nil; e = e.Next() {
			if e.Value.(*pendingLogin).from == l.from {
				p.remove(e)
				break
			}
		}
	}
	if p.order.Len() >= maxPending {
		return errManyPending
	}
	if p.byState == nil {
		p.byState, p.from = make(map[string]*list.Element), make(map[string]int)
	}
	l.expires = now.Add(pendingLife)
	p.byState[l.State] = p.order.PushBack(l)
	p.from[l.from]++
	return nil
}

func (p *pending) remove(e *list.Element) {
	l := p.order.Remove(e).(*pendingLogin)
	delete(p.byState, l.State)
	if p.from[l.from]--; p.from[l.from] == 0 {
		delete(p.from, l.from)
	}
}

// The errors of take tell a person what to do, and nothing of the login.
var (
	errNoPending    = refuse(http.StatusBadRequest, "This login is over, or has taken longer than 10 minutes: begin it again")
	errOtherBrowser = refuse(http.StatusBadRequest, "This login was begun in another browser or window, or for another provider: begin it again")
)

// take returns the login with that state and removes it, even when it is not this
// browser's or provider's: a state that somebody else got hold of is no good then.
func (p *pending) take(state, provider, browser string) (*pendingLogin, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.byState[state]
	if !ok {
		return nil, errNoPending
	}
	l := e.Value.(*pendingLogin)
	p.remove(e)
	sum := sha256.Sum256([]byte(browser))
	switch {
	case !p.now().Before(l.expires):
		return nil, errNoPending
	case l.provider != provider, subtle.ConstantTimeCompare(sum[:], l.browser[:]) != 1:
		return nil, errOtherBrowser
	}
	return l, nil
}
