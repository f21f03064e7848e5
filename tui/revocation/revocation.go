// Package revocation goes from the names of tokens to their end: which tokens they are now,
// what is asked before, and the revocation itself, with its progress.
//
// It owns the rules that keep a slip of the finger from revoking anything it should not:
// when a y is enough and when the number must be typed, and that a match revokes the set
// that was agreed to, or nothing. It never reads a key, opens a box, or chooses the tokens:
// a screen names them, and a box shows Question and Lines, and takes the answer.
package revocation

import (
	"context"
	"iter"
	"net/http"
	"slices"

	"gatehouse/server/api"
	"gatehouse/tui/listing"
)

const (
	// typedAbove is how many tokens a y may revoke. For more, their number must be typed.
	typedAbove = 20

	revokeBatch = 100 // tokens revoked by one call
	matchShown  = 100 // tokens of a match that a box shows at most
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
	Tokens []api.Token // of a match, the first few
	Total  int
	InUse  int          // how many of Tokens are in use; set by Arrange
	agreed api.Matching // of a match
}

// LookUp asks the server which tokens a revocation would revoke now.
func LookUp(ctx context.Context, c Server, r Target) (Doomed, error) {
	d := Doomed{Target: r}
	if r.Match != nil {
		n, err := c.Matching(ctx, r.Match.Query)
		if err != nil {
			return d, err
		}
		q := r.Match.Query
		q.At, q.Limit = n.At, matchShown
		d.Total, d.agreed = n.Rows, n
		err = d.add(c.Tokens(ctx, q))
		return d, err
	}
	for _, uid := range r.UIDs {
		if err := d.add(c.Tokens(ctx, api.TokenQuery{Filters: api.Where("user", uid)})); err != nil {
			return d, err
		}
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

func (d *Doomed) add(ts iter.Seq2[api.Token, error]) error {
	for t, err := range ts {
		if err != nil {
			return err
		}
		if t.State != api.StateRevoked {
			d.Tokens = append(d.Tokens, t)
		}
	}
	return nil
}

// Revoke revokes them, and yields its progress. It stops when the reader breaks off,
// except for a job of the server, which the client's StopRevocation stops.
func (d Doomed) Revoke(ctx context.Context, c Server) iter.Seq2[api.Progress, error] {
	if d.Match == nil {
		return d.inBatches(ctx, c)
	}
	q := d.Match.Query
	return c.RevokeMatching(ctx, api.BulkRevocation{Filters: q.Filters, Words: q.Words, Set: d.agreed.Set, At: d.agreed.At})
}

// inBatches revokes the tokens, and yields its progress.
func (d Doomed) inBatches(ctx context.Context, c Server) iter.Seq2[api.Progress, error] {
	return func(yield func(api.Progress, error) bool) {
		p := api.Progress{Total: d.Total}
		done := 0
		for part := range slices.Chunk(d.Tokens, revokeBatch) {
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
