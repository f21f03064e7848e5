package tui

import (
	"context"
	"fmt"
	"iter"
	"net/http"

	"gatehouse/server/api"
)

const (
	revokeBatch = 100 // tokens revoked by one call
	matchShown  = 100 // tokens of a match that a box shows at most
)

// lookUp asks the server which tokens a revocation would revoke now.
func lookUp(ctx context.Context, c client, r revocation) (doomed, error) {
	var d doomed
	if r.match != nil {
		n, err := c.TokenCount(ctx, r.match.query)
		if err != nil {
			return d, err
		}
		q := r.match.query
		q.Limit = matchShown
		d.total = n.Rows
		err = d.add(c.Tokens(ctx, q))
		return d, err
	}
	for _, uid := range r.uids {
		if err := d.add(c.Tokens(ctx, api.TokenQuery{User: uid})); err != nil {
			return d, err
		}
	}
	for _, id := range r.ids {
		switch t, err := c.Token(ctx, id); {
		case missing(err):
		case err != nil:
			return d, err
		case t.State != api.StateRevoked:
			d.tokens = append(d.tokens, t.Token)
		}
	}
	d.total = len(d.tokens)
	return d, nil
}

func (d *doomed) add(ts iter.Seq2[api.Token, error]) error {
	for t, err := range ts {
		if err != nil {
			return err
		}
		if t.State != api.StateRevoked {
			d.tokens = append(d.tokens, t)
		}
	}
	return nil
}

// revoking revokes, and yields its progress. It stops when the reader breaks off,
// except for a job of the server, which StopRevocation stops.
func revoking(ctx context.Context, c client, r revocation, d doomed) iter.Seq2[api.Progress, error] {
	switch {
	case r.match == nil:
		return inBatches(ctx, c, d.total, func(done int) ([]api.Token, error) {
			return d.tokens[done:min(done+revokeBatch, len(d.tokens))], nil
		})
	case r.match.query.Prefix == "":
		q := r.match.query
		return c.RevokeMatching(ctx, api.BulkRevocation{User: q.User, Idle: q.Idle, NeverUsed: q.NeverUsed, Expect: d.total})
	}
	// What was revoked no longer matches: the first that match are the next ones.
	return inBatches(ctx, c, d.total, func(done int) ([]api.Token, error) {
		var part doomed
		q := r.match.query
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if done == 0 {
			if err := agreed(ctx, c, q, d.total); err != nil {
				return nil, err
			}
		}
		q.Limit = min(revokeBatch, d.total-done) // never more than was confirmed
		err := part.add(c.Tokens(ctx, q))
		return part.tokens, err
	})
}

// agreed fails, as a job of the server does, when another number than total match by
// now.
func agreed(ctx context.Context, c client, q api.TokenQuery, total int) error {
	n, err := c.TokenCount(ctx, q)
	if err == nil && n.Rows != total {
		err = &api.Error{Status: http.StatusConflict, Message: fmt.Sprintf("Nothing was revoked: %d match by now, not %d", n.Rows, total)}
	}
	return err
}

// inBatches revokes what batch returns, given how many are done, until they are total,
// or batch returns nothing.
func inBatches(ctx context.Context, c client, total int, batch func(done int) ([]api.Token, error)) iter.Seq2[api.Progress, error] {
	return func(yield func(api.Progress, error) bool) {
		p := api.Progress{Total: total}
		for done := 0; !p.Done; {
			ts, err := batch(done)
			if err != nil {
				yield(p, err)
				return
			}
			var ids []string
			for _, t := range ts {
				ids = append(ids, t.ID)
			}
			if len(ids) > 0 {
				n, err := revokeSome(ctx, c, ids)
				if err != nil {
					yield(p, err)
					return
				}
				done, p.Revoked = done+len(ids), p.Revoked+n
			}
			p.Done = len(ids) == 0 || done >= total
			if !yield(p, nil) {
				return
			}
		}
	}
}

func revokeSome(ctx context.Context, c client, ids []string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	n, err := c.Revoke(ctx, api.Revocation{IDs: ids})
	return n.Revoked, err
}
