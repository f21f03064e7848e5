// Package revocation goes from the names of tokens to their end: which tokens they are now,
// what is asked before, and the revocation itself, with its progress.
//
// It owns the rules that keep a slip of the finger from revoking anything it should not:
// when a y is enough and when the number must be typed, and that a match, and each user,
// revokes the set that was agreed to, or nothing. It never reads a key, opens a box, or
// chooses the tokens: a screen names them, and a box shows Question and Lines, and takes the
// answer.
package revocation

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"time"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
	"gatehouse/tui/say"
)

const (
	// typedAbove is how many tokens a y may revoke. For more, their number must be typed.
	typedAbove = 20
	shownMost  = 100 // tokens of a set that a box shows: so many in use, and so many others

	mostInUse = 1000 // tokens in use are counted up to here
)

// Server has the tokens. *api.Client is one.
type Server interface {
	Tokens(context.Context, api.TokenQuery) iter.Seq2[api.Token, error]
	Token(ctx context.Context, id string) (api.TokenDetail, error)
	Matching(context.Context, api.TokenQuery) (api.Matching, error)
	Revoke(context.Context, api.Revocation) (api.Revoked, error)
	RevokeMatching(context.Context, api.BulkRevocation) iter.Seq2[api.Progress, error]
}

// Target names what is to be revoked: these tokens, or all of these users,
// or all that match.
type Target struct {
	IDs   []string
	UIDs  []string
	Match *Match
}

// Match is a listing of tokens, and what its tokens are called.
type Match struct {
	Query api.TokenQuery
	Words string
}

// Of names tokens to revoke.
func Of(ts []api.Token) Target {
	var r Target
	for _, t := range ts {
		r.IDs = append(r.IDs, t.ID)
	}
	slices.Sort(r.IDs)
	return r
}

// Doomed are the tokens that a revocation would revoke, as the server has them now.
type Doomed struct {
	Target
	Tokens []api.Token // of sets, some: those in use first
	Total  int
	InUse  int   // how many of Total are in use, at most mostInUse + 1; set by Arrange for tokens that were named
	sets   []set // of a match, and of users: what is agreed to
}

// set is all that a query matches, as it was looked up.
type set struct {
	query api.TokenQuery
	api.Matching
}

// LookUp asks the server which tokens a revocation would revoke now.
func LookUp(ctx context.Context, c Server, r Target) (Doomed, error) {
	d := Doomed{Target: r}
	for _, q := range r.queries() {
		n, err := c.Matching(ctx, q)
		if err != nil {
			return d, err
		}
		d.sets = append(d.sets, set{q, n})
		d.Total += n.Rows
	}
	if len(d.sets) > 0 {
		return d, d.look(ctx, c)
	}
	for _, id := range r.IDs {
		switch t, err := c.Token(ctx, id); {
		case api.Refused(err, http.StatusNotFound):
		case err != nil:
			return d, err
		case t.State != api.StateRevoked:
			d.Tokens = append(d.Tokens, t.Token)
		}
	}
	d.Total = len(d.Tokens)
	return d, nil
}

// queries returns what selects the tokens; nothing, if they were named.
func (r Target) queries() (all []api.TokenQuery) {
	if r.Match != nil {
		return []api.TokenQuery{r.Match.Query}
	}
	for _, uid := range r.UIDs {
		all = append(all, api.TokenQuery{Filters: api.Where("user", uid)})
	}
	return all
}

// Agreed returns what was looked up for a match: the set that is agreed to.
func (d *Doomed) Agreed() api.Matching { return d.sets[0].Matching }

// look counts the tokens of the sets that are in use, and keeps some to show. It reads the
// latest used first, and so no further than it must: a million may be in use.
func (d *Doomed) look(ctx context.Context, c Server) error {
	var others []api.Token
	for _, s := range d.sets {
		q, at := s.query, time.UnixMilli(s.At)
		q.At, q.Order, q.Reverse = s.At, api.ByLastUsed, true
		for t, err := range c.Tokens(ctx, q) {
			if err != nil {
				return err
			}
			switch {
			case t.State == api.StateRevoked:
			case say.InUse(at, t):
				if d.InUse++; len(d.Tokens) < shownMost {
					d.Tokens = append(d.Tokens, t)
				}
			case len(others) < shownMost:
				others = append(others, t)
			}
			if d.InUse > mostInUse || len(others) == shownMost && at.Sub(time.UnixMilli(t.LastUsed)) > time.Hour {
				break // the others were used before
			}
		}
		if d.InUse > mostInUse {
			break
		}
	}
	d.Tokens = append(d.Tokens, others...)
	return nil
}

// Revoke revokes them, and yields its progress. It stops when the reader breaks off,
// except for a job of the server, which the client's StopRevocation stops. Each user is a
// job; between two of them, and without one, the progress names no job. Of sets, it
// revokes what was agreed to: if others match by now, the error is a 409.
func (d Doomed) Revoke(ctx context.Context, c Server) iter.Seq2[api.Progress, error] {
	if len(d.sets) == 0 {
		return d.inBatches(ctx, c)
	}
	return func(yield func(api.Progress, error) bool) {
		if err := d.changed(ctx, c); err != nil {
			yield(api.Progress{}, err)
			return
		}
		sets := slices.DeleteFunc(slices.Clone(d.sets), func(s set) bool { return s.Rows == 0 })
		all := api.Progress{Total: d.Total, Done: len(sets) == 0}
		if all.Done {
			yield(all, nil)
		}
		for n, s := range sets {
			before, ended := all.Revoked, false
			for p, err := range c.RevokeMatching(ctx, api.BulkRevocation{Filters: s.query.Filters, Words: s.query.Words, Set: s.Set, At: s.At}) {
				if api.Refused(err, http.StatusConflict) && before > 0 {
					err = &api.Error{Status: http.StatusConflict, Message: "Revoked " + say.Count(before, "token") + "; then others had come: look at them again"}
				}
				all.Job, all.Revoked, all.Stopped = p.Job, before+p.Revoked, p.Stopped
				all.Done, ended = p.Stopped, p.Done
				if !yield(all, err) || err != nil || all.Done {
					return
				}
			}
			if !ended {
				return // the connection was lost
			}
			all.Job, all.Done = "", n == len(sets)-1 // between two users it can be stopped without the server
			if !yield(all, nil) {
				return
			}
		}
	}
}

// changed returns an error if the sets of several users are not what was agreed to. So one
// that has changed is found before any is revoked. The server compares each once more.
func (d Doomed) changed(ctx context.Context, c Server) error {
	if len(d.sets) == 1 {
		return nil
	}
	total, changed := 0, false
	for _, s := range d.sets {
		n, err := c.Matching(ctx, s.query)
		if err != nil {
			return err
		}
		total += n.Rows
		changed = changed || n.Set != s.Set
	}
	if !changed {
		return nil
	}
	return &api.Error{Status: http.StatusConflict, Message: "Nothing was revoked: the tokens of these users have changed and are now " + say.Number(total) + ": look at them again"}
}

// inBatches revokes the tokens, and yields its progress.
func (d Doomed) inBatches(ctx context.Context, c Server) iter.Seq2[api.Progress, error] {
	return func(yield func(api.Progress, error) bool) {
		p := api.Progress{Total: d.Total}
		done := 0
		for part := range slices.Chunk(d.Tokens, api.MostRevoked) {
			var ids []string
			for _, t := range part {
				ids = append(ids, t.ID)
			}
			n, err := revokeSome(ctx, c, ids)
			if err != nil {
				yield(p, err)
				return
			}
			done, p.Revoked = done+len(ids), p.Revoked+n
			p.Done = done >= d.Total
			if !yield(p, nil) {
				return
			}
		}
	}
}

func revokeSome(ctx context.Context, c Server, ids []string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, listing.Patience)
	defer cancel()
	n, err := c.Revoke(ctx, api.Revocation{IDs: ids})
	return n.Revoked, err
}
