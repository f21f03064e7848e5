package recheck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/oauth"
	"gatehouse/storage"
	"gatehouse/storage/grants"
)

// atOnce is how many people a sweep asks about at the same time. Logins have the rest of
// what package oauth allows a provider.
const atOnce = 4

// pruneEvery is how often grants that are no longer needed are deleted. A grant stays for
// justSeen after a login: the sweep under way may not know the person yet.
const (
	pruneEvery = 24 * time.Hour
	justSeen   = time.Hour
)

// States asks the provider about people. The error is the last reason why it did not
// answer about one of them.
//
// A question that has been sent is never cancelled: its answer may spend a refresh token.
//
// A provider that has lost its data says of everybody that the grant is gone. If it starts
// during a sweep, or the sweep is cut off, the sweep hears that of only a few people, too few
// for the brake. So when some people were not asked, nobody stops because of an end that is
// new: the next sweep finds it in the grant.
func (p *People) States(ctx context.Context, subjects []string) (map[string]ldap.State, error) {
	var (
		mu           sync.Mutex
		states       = make(map[string]ldap.State, len(subjects))
		why          error
		unverified   int
		goneSubjects []string
	)
	ordered, turn := p.order(subjects)
	next := make(chan string)
	var workers sync.WaitGroup
	for range min(atOnce, len(subjects)) {
		workers.Go(func() {
			for subject := range next {
				a, err := p.about(context.WithoutCancel(ctx), turn, subject)
				turn.end()
				mu.Lock()
				states[subject] = a.state
				if err != nil && (why == nil || !errors.Is(err, errMute)) {
					why = err
				}
				if a.unverified {
					unverified++
				}
				if a.ended {
					goneSubjects = append(goneSubjects, subject)
				}
				mu.Unlock()
			}
		})
	}
	for _, subject := range ordered {
		if ctx.Err() != nil {
			break
		}
		turn.begin()
		next <- subject
	}
	close(next)
	workers.Wait()
	p.judge(turn)
	if ctx.Err() != nil {
		why = ctx.Err()
	} else {
		p.ended(states, unverified)
	}
	if why != nil {
		for _, subject := range goneSubjects {
			states[subject] = ldap.State{}
		}
	}
	return states, why
}

// ended notes that a sweep has asked about everybody.
func (p *People) ended(states map[string]ldap.State, unverified int) {
	now, doubt := p.store.Now()
	p.mu.Lock()
	p.unverified = unverified
	due := doubt == nil && now.Sub(p.pruned) >= pruneEvery
	if due {
		p.pruned = now
	}
	p.mu.Unlock()
	if !due {
		return
	}
	n, err := p.store.Grants().Prune(func(g grants.Grant) bool {
		_, asked := states[g.Identity.Subject]
		return g.Identity.Source != p.Source || asked || now.Sub(time.UnixMilli(g.Answered)) < justSeen
	})
	logPruned(p.log, n, err)
}

// answer is what a sweep finds out about a person.
type answer struct {
	state      ldap.State
	unverified bool
	ended      bool // the provider has just said that the grant is gone
}

// about returns the answer about a person.
func (p *People) about(ctx context.Context, turn *patience, subject string) (a answer, err error) {
	g, err := p.begin(subject)
	if err != nil {
		return a, err
	}
	if g.Left == "" && g.Usable() {
		g, a.state, err = p.ask(ctx, turn, g)
		a.ended = g.Left != ""
	}
	p.taking.Lock()
	p.rests[subject] = stampOf(g)
	p.taking.Unlock()
	switch {
	case errors.Is(err, grants.ErrNewer): // the login proves that the person is active
		return answer{state: ldap.State{Verdict: ldap.Active}}, nil
	case err != nil:
		return answer{}, err
	case g.Left != "":
		a.state = stopped(g.Left)
	case !g.Usable():
		a.state, a.unverified = p.doubtful(g), true
	}
	return a, nil
}

func stopped(why string) ldap.State {
	return ldap.State{Verdict: ldap.Stopped, Stop: ldap.Stop{Reason: ldap.Reason(why)}}
}

// doubtful returns the verdict on a person for whom there is no token to ask with. There
// is no verdict until recheck_grace is over. While the clock is in doubt, it does not end.
func (p *People) doubtful(g grants.Grant) ldap.State {
	now, doubt := p.store.Now()
	if doubt == nil && g.Since > 0 && now.Sub(time.UnixMilli(g.Since)) >= p.grace {
		return stopped("not verified within recheck_grace: " + g.Doubt)
	}
	return ldap.State{}
}

// begin returns the grant of a subject. Without one, the doubt begins now. It refuses
// while the disk is too full to store what the provider would answer.
func (p *People) begin(subject string) (g grants.Grant, err error) {
	if err := p.store.Writable(); err != nil {
		return g, fmt.Errorf("the provider is not asked, because its answer could not be stored: %w", err)
	}
	g, ok, err := p.get(subject)
	if err != nil || ok {
		return g, err
	}
	now, _ := p.store.Now()
	return p.store.Grants().Renew(p.identity(subject), func(g *grants.Grant, version uint64) {
		*g = grants.Grant{
			Identity: g.Identity, Client: p.provider.Client(), Version: version, Since: now.UnixMilli(), Doubt: noGrant,
		}
	})
}

// ask asks the provider about a person, and returns the grant as it is afterwards.
func (p *People) ask(ctx context.Context, turn *patience, g grants.Grant) (grants.Grant, ldap.State, error) {
	if err := turn.over(); err != nil {
		return g, ldap.State{}, err
	}
	all, id, version := p.store.Grants(), g.Identity, g.Version
	lost := g.Sent // an earlier answer
	now, _ := p.store.Now()
	g, err := all.Update(id, version, func(g *grants.Grant) {
		g.Asked, g.Sent = now.UnixMilli(), g.Sent || g.Refresh != ""
	})
	if err != nil {
		return g, ldap.State{}, err
	}
	o, why := p.provider.Again(ctx, id.Subject, oauth.Grant{Refresh: oauth.Secret(g.Refresh), Access: oauth.Secret(g.Access)},
		func(next oauth.Grant) error {
			_, err := all.Update(id, version, func(g *grants.Grant) {
				g.Refresh, g.Access, g.Sent = string(next.Refresh), string(next.Access), false
			})
			return err
		})
	turn.asked(o == oauth.Lost)
	g, err = all.Update(id, version, func(g *grants.Grant) { p.note(g, o, lost, why) })
	if err != nil {
		return g, ldap.State{}, err
	}
	p.log.Debug("a provider was asked about a person", "subject", id.Subject, "outcome", int(o), "error", why)
	switch o {
	case oauth.Active:
		return g, ldap.State{Verdict: ldap.Active}, nil
	case oauth.Stopped:
		return g, stopped(why.Error()), nil
	case oauth.Ended, oauth.Spent:
		p.tellEnd(g)
		return g, ldap.State{}, nil
	}
	return g, ldap.State{}, why
}

// note records the outcome of a question in a grant. lost says that an earlier answer may
// have been lost.
func (p *People) note(g *grants.Grant, o oauth.Outcome, lost bool, why error) {
	now, _ := p.store.Now()
	switch o {
	case oauth.Active, oauth.Stopped:
		g.Answered, g.Sent, g.Since, g.Doubt = now.UnixMilli(), false, 0, ""
	case oauth.Ended, oauth.Spent:
		g.Refresh, g.Access, g.Sent = "", "", false
		if lost || o == oauth.Spent {
			g.Since, g.Doubt = now.UnixMilli(), lostAnswer
		} else {
			g.Answered, g.Left = now.UnixMilli(), why.Error()
		}
	case oauth.Silent: // this question has changed nothing
		g.Sent = g.Sent && lost
	}
}

// tellEnd logs that a person is unverified from now on.
func (p *People) tellEnd(g grants.Grant) {
	if g.Left != "" {
		return
	}
	uid := ""
	if u, err := p.store.UserByIdentity(g.Identity); err == nil {
		uid = u.UID
	}
	until := time.UnixMilli(g.Since).Add(p.grace)
	p.log.Warn("the provider can't be asked about a user any more: the user's tokens stop working then, unless the user logs in with the provider before", "uid", uid, "subject", g.Identity.Subject, "at", until, "reason", g.Doubt)
	p.store.Note(p.Actor, storage.Event{Action: storage.ActionUserUnverified, UID: uid, Detail: g.Doubt})
}
