package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
)

// Idle revokes the tokens that nobody has used for longer than tokens.revoke_idle_after.
//
// If a sweep would revoke more than fewChanges tokens and more than one in changeShare, a
// wrong setting or uncounted uses are the likely cause. While the clock is in doubt, nobody
// knows which tokens are idle. In both cases nothing is revoked until an administrator
// confirms it, or until the cause is gone.
type Idle struct {
	store   *storage.Store
	log     *slog.Logger
	after   func() config.Lifetime
	revoked func(tokens int)

	sweeping sync.Mutex // one sweep at a time

	mu    sync.Mutex
	swept bool         // since the start
	held  []storage.ID // none: nothing is held
	of    int          // how many tokens there were
	why   error
	state lasting.State
}

var idleActor = storage.Actor{Name: "revoke_idle_after"}

// NewIdle returns the sweep of a store. It asks for the setting each time, and tells
// revoked how many tokens it has revoked.
func NewIdle(store *storage.Store, log *slog.Logger, after func() config.Lifetime, revoked func(tokens int)) *Idle {
	return &Idle{store: store, log: log, after: after, revoked: revoked, state: lasting.State{
		Log: log, Level: slog.LevelWarn,
		Begins: "idle tokens are not revoked until an administrator confirms it; see `gatehouse user offboard`",
		Ends:   "the revocation of idle tokens is no longer held",
	}}
}

// Run sweeps once an hour, or more often if revoke_idle_after is short, until the context
// ends. The first sweep is within a minute: a server that is restarted every half hour
// must sweep, too. If tokens are never revoked for being idle, it returns at once, and
// nothing is held any more.
func (h *Idle) Run(ctx context.Context) {
	after := h.after()
	if !after.Ends() {
		h.hold(nil, 0, nil)
		return
	}
	every := min(max(after.Duration/10, time.Second), time.Hour)
	for next := time.NewTimer(min(every, time.Minute)); ; next.Reset(every) {
		select {
		case <-next.C:
			h.Sweep()
		case <-ctx.Done():
			next.Stop()
			return
		}
	}
}

// Stop ends the log lines about what is held.
func (h *Idle) Stop() { h.state.Stop() }

// Sweep revokes what is idle now, or holds it. It reads the setting once: a reload may turn
// it off at the moment at which a sweep begins.
func (h *Idle) Sweep() {
	h.sweeping.Lock()
	defer h.sweeping.Unlock()
	after := h.after()
	if !after.Ends() {
		return
	}
	f, ids, doubt, err := h.find(after)
	if err != nil {
		h.log.Error("idle tokens are not revoked", "error", err)
		return
	}
	of := h.store.TokenCount()
	switch {
	case len(ids) == 0:
	case doubt != nil:
		h.hold(ids, of, doubt)
		return
	case TooMany(len(ids), of):
		h.hold(ids, of, errTooMany)
		return
	}
	h.hold(nil, of, nil)
	if n, err := h.revoke(f, ids); err != nil {
		h.log.Error("idle tokens are not revoked", "error", err)
	} else if n > 0 {
		h.log.Info("idle tokens revoked", "tokens", n)
	}
}

var errTooMany = errors.New("they are more than a tenth of all tokens, too many to revoke without confirmation")

// find returns the tokens that have been idle for the lifetime after. It counts from the
// last use or, if that is later, from the first start after a restore: a backup does not
// know of the uses since it was made.
func (h *Idle) find(after config.Lifetime) (f storage.TokenFilter, ids []storage.ID, doubt, err error) {
	now, doubt := h.store.Now()
	f.IdleSince = now.Add(-after.Duration).UnixMilli()
	if f.IdleSince <= 0 || h.store.RestoredAt() > f.IdleSince { // 0 would select all tokens
		return f, nil, doubt, nil
	}
	ids, err = h.store.MatchTokens(f)
	return f, ids, doubt, err
}

func (h *Idle) revoke(f storage.TokenFilter, ids []storage.ID) (int, error) {
	n, err := h.store.RevokeMatching(idleActor, f, ids, nil)
	h.revoked(n)
	return n, err
}

// hold keeps the tokens that a sweep would revoke; the list may be empty. It logs when
// holding begins, while it lasts and when it ends.
func (h *Idle) hold(ids []storage.ID, of int, why error) {
	h.mu.Lock()
	news := len(ids) > 0 && len(h.held) == 0
	h.swept = true
	h.held, h.of, h.why = ids, of, why
	h.mu.Unlock()
	h.state.Set(why, "idle", len(ids), "of", of)
	if news {
		h.store.Note(idleActor, storage.Event{
			Action: storage.ActionIdleHeld, Count: len(ids),
			Detail: fmt.Sprintf("of %d tokens, held because %v; see `gatehouse user offboard`", of, why),
		})
	}
}

// Confirm revokes those of the held tokens that are still idle. The administrator has not
// seen the others: they are left to the next sweep. Confirm returns ErrNothingHeld if no
// tokens are held.
func (h *Idle) Confirm(by storage.Actor) error {
	h.sweeping.Lock()
	defer h.sweeping.Unlock()
	h.mu.Lock()
	agreed := h.held
	h.mu.Unlock()
	after := h.after()
	if len(agreed) == 0 || !after.Ends() {
		return ErrNothingHeld
	}
	f, _, doubt, err := h.find(after)
	switch {
	case err != nil:
		return err
	case doubt != nil: // it was confirmed just now, and has jumped again
		return reply.Refuse(http.StatusConflict, "The clock has jumped since you looked: run `gatehouse user offboard` again")
	}
	h.store.Note(by, storage.Event{Action: storage.ActionIdleConfirm, Count: len(agreed)})
	_, err = h.revoke(f, agreed)
	if err == nil {
		h.hold(nil, 0, nil)
	}
	return err
}

// Held returns the tokens that are held, as the administration shows them.
func (h *Idle) Held() (acts []api.HeldAct) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		return nil
	}
	return []api.HeldAct{{
		Action: api.HeldRevokeIdle, Count: len(h.held), Of: h.of, Why: h.why.Error(),
		Shown: "gatehouse token list --idle " + h.after().String(),
	}}
}

// On reports whether idle tokens are revoked at all.
func (h *Idle) On() bool { return h.after().Ends() }

// Swept reports whether it is known if tokens are held: a sweep has run since the start, or
// idle tokens are never revoked.
func (h *Idle) Swept() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.swept
}

// Holding returns how many tokens are held.
func (h *Idle) Holding() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}
