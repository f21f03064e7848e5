package admin

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/query"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// jobs are the bulk revocations under way, by name, so that they can be stopped.
type jobs struct {
	mu   sync.Mutex
	stop map[string]context.CancelFunc
}

// begin gives a job a name, and a context that ends when the job is stopped. The
// caller must call end when the job is over.
func (j *jobs) begin(ctx context.Context) (job context.Context, name string, end func()) {
	ctx, stop := context.WithCancel(ctx)
	name = rand.Text()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stop == nil {
		j.stop = make(map[string]context.CancelFunc)
	}
	j.stop[name] = stop
	return ctx, name, func() {
		stop()
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.stop, name)
	}
}

// cancel stops a job, and reports whether there is one of that name.
func (j *jobs) cancel(name string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	stop, ok := j.stop[name]
	if ok {
		stop()
	}
	return ok
}

func (a *Admin) stopRevocation(w http.ResponseWriter, r *route.Request) error {
	if !a.jobs.cancel(r.PathValue("job")) {
		return reply.Refuse(http.StatusNotFound, "No such revocation is under way")
	}
	return reply.NoContent(w, nil)
}

const (
	bulkBatch = 200                    // tokens that the store is asked to revoke at a time
	bulkTells = 250 * time.Millisecond // between two reports of progress
)

// bulk is one bulk revocation.
type bulk struct {
	by      storage.Actor
	query   query.Tokens
	match   query.Match
	revoked atomic.Int64
}

// revokeMatching serves POST /admin/revocations: it revokes all tokens that
// match, and streams its progress. It stops when the client hangs up, or the server
// ends; what was revoked by then stays revoked.
func (a *Admin) revokeMatching(w http.ResponseWriter, r *route.Request, req api.BulkRevocation) error {
	q, err := a.parser(req.At).Tokens(req.Filters, req.Words)
	if err != nil {
		return err
	}
	if q.All() {
		return reply.Refuse(http.StatusBadRequest, "Say which tokens: a filter is needed")
	}
	b := &bulk{by: r.Actor(), query: q}
	if b.match, err = a.reader().Match(r.Context(), q); err != nil {
		return err
	}
	if now := query.SetOf(b.match.IDs); req.Set != "" && req.Set != now.String() {
		return reply.Refuse(http.StatusConflict, "Nothing was revoked: the tokens that match have changed and are now %d: look at them again", now.Rows)
	}
	ctx, name, end := a.jobs.begin(r.Context())
	defer end()
	return a.stream(unbuffered{w}, r, 0, func(yield func(any, error) bool) {
		a.runBulk(ctx, b, api.Progress{Job: name, Total: len(b.match.IDs)}, yield)
	})
}

// runBulk revokes, and yields the progress until it is done. When nobody listens any
// more it stops the revocation, and waits for its end.
func (a *Admin) runBulk(ctx context.Context, b *bulk, p api.Progress, yield func(any, error) bool) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	there := yield(p, nil)
	if !there {
		stop()
	}
	go func() { ended <- a.revokeAll(ctx, b) }()
	tick := time.NewTicker(bulkTells)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.Revoked = int(b.revoked.Load())
			if there && !yield(p, nil) {
				there = false
				stop()
			}
		case err := <-ended:
			if !there {
				return
			}
			p.Revoked, p.Done, p.Stopped = int(b.revoked.Load()), true, ctx.Err() != nil
			yield(p, err)
			return
		}
	}
}

// revokeAll revokes one batch after the other, until the context ends, and records
// in the audit log what it did.
func (a *Admin) revokeAll(ctx context.Context, b *bulk) (err error) {
	for from := 0; from < len(b.match.IDs) && ctx.Err() == nil && err == nil; from += bulkBatch {
		var n int
		n, err = b.match.Revoke(a.store, b.by, b.match.IDs[from:min(from+bulkBatch, len(b.match.IDs))])
		b.revoked.Add(int64(n))
		a.Revoked(n)
	}
	e := storage.Event{Action: storage.ActionTokensRevoke, UID: a.store.UID(b.match.Owner()), Detail: bulkDetail(b, ctx.Err() != nil), Count: int(b.revoked.Load())}
	if noted := a.store.Record(b.by, e); err == nil {
		err = noted
	}
	return err
}

func bulkDetail(b *bulk, stopped bool) string {
	text := fmt.Sprintf("%s: revoked %d of %d", b.query, b.revoked.Load(), len(b.match.IDs))
	if stopped {
		text += ", then stopped"
	}
	return text
}
