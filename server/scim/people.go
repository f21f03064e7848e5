package scim

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"sync"
	"time"

	"gatehouse/ldap"
	"gatehouse/server/directory"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
	"gatehouse/storage/record"
)

const (
	// sweepEvery is how often users are compared with what the provider said. Another source
	// may have ended its own suspension of a user, and deleted users must be removed.
	sweepEvery = 5 * time.Minute
	// removeAfter is how long a user who was deleted at the provider stays suspended before
	// the removal. A removal can't be undone, and after the suspension it is not urgent.
	removeAfter = 24 * time.Hour
	// brakeWindow is the time within which stops count together.
	brakeWindow = time.Hour
)

// people are the people of one provider. They are shared with the servers before and after
// a reload.
type people struct {
	*directory.Sweeps
	provider string
	source   string // record.SCIMSource
	store    *storage.Store
	said     *said

	mu      sync.Mutex // for what the sweep under way has found
	looked  map[string]looked
	stopped int // who were stopped within brakeWindow
}

// looked is somebody whom a sweep looks at.
type looked struct {
	id    storage.UserID
	state ldap.State
}

// said records which users a provider has reported on by SCIM. The reports are in the
// users' records.
type said struct {
	changing sync.Mutex // held while something said is kept, or takes effect

	mu  sync.Mutex
	ids map[storage.UserID]record.ToldState
}

func (s *said) note(u storage.User, source string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := u.ToldBy(source)
	if t.State == "" || t.State == storage.ToldActive && !u.SuspendedBy(source) {
		delete(s.ids, u.ID) // there is nothing to do
	} else {
		s.ids[u.ID] = t.State
	}
}

func (s *said) all() (ids []storage.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.ids {
		ids = append(ids, id)
	}
	return ids
}

func (s *said) gone(id storage.UserID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ids[id] == storage.ToldGone
}

func newPeople(provider string, n Needs) *people {
	p := &people{
		provider: provider, source: record.SCIMSource(provider), store: n.Store,
		said: &said{ids: map[storage.UserID]record.ToldState{}},
	}
	p.Sweeps = &directory.Sweeps{
		Source: p.source, Actor: storage.Actor{Name: "provider " + provider}, Every: sweepEvery, Keeps: true,
		Store: n.Store, Log: n.Log.With("provider", provider), Doubt: lasting.State{Log: n.Log, Level: slog.LevelWarn},
		Holders: p.holders, States: p.states, Of: p.count, Recent: p.recent, Each: p.each,
	}
	return p
}

func (p *people) recall(ctx context.Context) error {
	for h, err := range p.store.Known(p.source) {
		if err != nil || ctx.Err() != nil {
			return err
		}
		p.said.note(h.User, p.source)
	}
	return nil
}

// hear keeps what the provider says of a user. If it is news, it takes effect, or is held.
func (p *people) hear(ctx context.Context, c *caller, id storage.UserID, state record.ToldState, externalID string) (storage.User, error) {
	u, err := p.keep(c, id, state, externalID)
	if err != nil || !p.behind(u) {
		return u, err
	}
	if err := p.Sweep(ctx); err != nil {
		return u, err
	}
	return p.store.UserByID(id)
}

func (p *people) keep(c *caller, id storage.UserID, state record.ToldState, externalID string) (u storage.User, err error) {
	p.said.changing.Lock()
	defer p.said.changing.Unlock()
	told := record.Told{Source: p.source, State: state, By: c.as}
	u, err = p.store.Tell(c.by, id, told, externalID, string(state)+" at "+p.provider+", "+c.token)
	if err == nil {
		p.said.note(u, p.source)
	}
	return u, err
}

// behind reports whether the last report on a user has not taken effect.
func (p *people) behind(u storage.User) bool {
	switch u.ToldBy(p.source).State {
	case storage.ToldActive:
		return u.SuspendedBy(p.source)
	case storage.ToldInactive, storage.ToldGone:
		return u.State == storage.UserActive
	}
	return false
}

// holders lists the users on whom the provider has reported, and notes the verdict on each.
func (p *people) holders() iter.Seq2[storage.Holder, error] {
	return func(yield func(storage.Holder, error) bool) {
		now, doubt := p.store.Now()
		found, stopped := map[string]looked{}, 0
		for _, id := range p.said.all() {
			u, err := p.store.UserByID(id)
			if errors.Is(err, storage.ErrNoUser) {
				continue
			}
			if err != nil {
				yield(storage.Holder{}, err)
				return
			}
			t := u.ToldBy(p.source)
			if u.State == storage.UserRemoved {
				u.Told = nil
			}
			if p.said.note(u, p.source); len(u.Told) == 0 {
				continue
			}
			recent := now.Sub(time.UnixMilli(t.At)).Abs() < brakeWindow
			if t.State != storage.ToldActive && u.State != storage.UserActive && recent {
				stopped++
			}
			found[id.Opaque()] = looked{id, p.verdict(u, now, doubt)}
			if !yield(storage.Holder{User: u, Subjects: []string{id.Opaque()}}, nil) {
				return
			}
		}
		p.mu.Lock()
		p.looked, p.stopped = found, stopped
		p.mu.Unlock()
	}
}

// verdict says what a provider's word means for a user now. While the clock is in doubt,
// nobody is missing.
func (p *people) verdict(u storage.User, now time.Time, doubt error) ldap.State {
	t := u.ToldBy(p.source)
	switch t.State {
	case storage.ToldActive:
		// After a restore, a suspension may be newer than what is known to be said.
		if t.At >= u.StateAt {
			return ldap.State{Verdict: ldap.Active}
		}
	case storage.ToldInactive:
		return ldap.State{Verdict: ldap.Stopped, Stop: ldap.Stop{Reason: ldap.Reason("deactivated by " + t.By)}}
	case storage.ToldGone:
		s := ldap.State{Verdict: ldap.Stopped, Stop: ldap.Stop{Reason: ldap.Reason("deleted by " + t.By)}}
		if u.State != storage.UserActive && doubt == nil && now.Sub(time.UnixMilli(t.At)) >= removeAfter {
			s.Verdict = ldap.Missing
		}
		return s
	}
	return ldap.State{}
}

func (p *people) states(_ context.Context, subjects []string) (map[string]ldap.State, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	states := make(map[string]ldap.State, len(subjects))
	for _, subject := range subjects {
		states[subject] = p.looked[subject].state
	}
	return states, nil
}

// count returns how many people the provider has here.
func (p *people) count() (int, error) { return p.store.CountUsers("", p.has) }

// has reports whether somebody came from the provider, and is not deleted there.
func (p *people) has(one *storage.Person) bool {
	return one.Source == p.provider && !p.said.gone(one.ID)
}

func (p *people) recent() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stopped
}

// each makes a change, unless the provider has said something else since the sweep looked.
func (p *people) each(subjects []string, do func() error) error {
	p.said.changing.Lock()
	defer p.said.changing.Unlock()
	p.mu.Lock()
	seen := p.looked[subjects[0]]
	p.mu.Unlock()
	u, err := p.store.UserByID(seen.id)
	if err != nil {
		return err
	}
	now, doubt := p.store.Now()
	if p.verdict(u, now, doubt).Verdict != seen.state.Verdict {
		return nil
	}
	return do()
}
