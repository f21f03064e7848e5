package server

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

// idleSweep is the sweep that revokes idle tokens: what it is held for. A sweep that
// would revoke more than fewChanges tokens and more than one in changeShare is more
// likely a wrong setting, or a use that was not counted, than right; and with a clock
// in doubt nobody knows what is idle. Then nothing is revoked until an administrator
// confirms it, or until there is no longer a reason.
type idleSweep struct {
	sweeping sync.Mutex // one sweep at a time

	mu    sync.Mutex
	held  []storage.ID // none: nothing is held
	of    int          // how many tokens there were
	why   error
	state *lasting.State
}

var idleActor = storage.Actor{Name: "revoke_idle_after"}

// sweepIdle revokes tokens unused for longer than tokens.revoke_idle_after, once an
// hour, or more often if that span is short. The first sweep is within a minute: a
// server that is restarted every half hour must sweep, too.
func (s *Server) sweepIdle(ctx context.Context) {
	after := s.config().Tokens.RevokeIdleAfter.Duration
	if after == 0 {
		return
	}
	every := min(max(after/10, time.Second), time.Hour)
	for next := time.NewTimer(min(every, time.Minute)); ; next.Reset(every) {
		select {
		case <-next.C:
			s.revokeIdle(after)
		case <-ctx.Done():
			next.Stop()
			s.idle.state.Stop()
			return
		}
	}
}

// revokeIdle makes one sweep.
func (s *Server) revokeIdle(after time.Duration) {
	s.idle.sweeping.Lock()
	defer s.idle.sweeping.Unlock()
	f, ids, doubt, err := s.findIdle(after)
	if err != nil {
		s.log.Error("idle tokens are not revoked", "error", err)
		return
	}
	of := s.store.TokenCount()
	switch {
	case len(ids) == 0:
	case doubt != nil:
		s.holdIdle(ids, of, doubt)
		return
	case len(ids) > max(fewChanges, of/changeShare):
		s.holdIdle(ids, of, errTooManyIdle)
		return
	}
	s.holdIdle(nil, of, nil)
	if n, err := s.revokeThese(f, ids); err != nil {
		s.log.Error("idle tokens are not revoked", "error", err)
	} else if n > 0 {
		s.log.Info("idle tokens revoked", "tokens", n)
	}
}

var errTooManyIdle = errors.New("they are more than a tenth of all, which is too much to be believed unseen")

// findIdle counts from the last use or, where that is later, from the first
// start after a restore: a backup does not know of the uses since it was made.
func (s *Server) findIdle(after time.Duration) (f storage.TokenFilter, ids []storage.ID, doubt, err error) {
	now, doubt := s.store.Now()
	f.IdleSince = now.Add(-after).UnixMilli()
	if f.IdleSince <= 0 || s.store.RestoredAt() > f.IdleSince { // 0 is no filter
		return f, nil, doubt, nil
	}
	ids, err = s.store.MatchTokens(f)
	return f, ids, doubt, err
}

func (s *Server) revokeThese(f storage.TokenFilter, ids []storage.ID) (int, error) {
	n, err := s.store.RevokeMatching(idleActor, f, ids, nil)
	s.metrics.revocations.Add(float64(n))
	return n, err
}

// holdIdle keeps the tokens that a sweep would revoke, or none, and tells of them when
// that begins, while it lasts and when it ends.
func (s *Server) holdIdle(ids []storage.ID, of int, why error) {
	h := &s.idle
	h.mu.Lock()
	news := len(ids) > 0 && len(h.held) == 0
	h.held, h.of, h.why = ids, of, why
	h.mu.Unlock()
	h.state.Set(why, "idle", len(ids), "of", of)
	if news {
		s.store.Note(idleActor, storage.Event{
			Action: storage.ActionIdleHeld, Count: len(ids),
			Detail: fmt.Sprintf("of %d tokens, held because %v; see `gatehouse user offboard`", of, why),
		})
	}
}

// confirmIdle revokes those of the held tokens that are still idle. The administrator
// has not been told of any others: they are the next sweep's.
func (s *Server) confirmIdle(by storage.Actor) error {
	s.idle.sweeping.Lock()
	defer s.idle.sweeping.Unlock()
	s.idle.mu.Lock()
	agreed := s.idle.held
	s.idle.mu.Unlock()
	f, _, doubt, err := s.findIdle(s.config().Tokens.RevokeIdleAfter.Duration)
	switch {
	case err != nil || len(agreed) == 0:
		return err
	case doubt != nil: // it was confirmed just now, and has jumped again
		return reply.Refuse(http.StatusConflict, "The clock was set meanwhile: look again")
	}
	s.store.Note(by, storage.Event{Action: storage.ActionIdleConfirm, Count: len(agreed)})
	_, err = s.revokeThese(f, agreed)
	if err == nil {
		s.holdIdle(nil, 0, nil)
	}
	return err
}

// view is what is held, on the wire.
func (h *idleSweep) view(after config.Lifetime) (acts []api.HeldAct) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.held) == 0 {
		return nil
	}
	return []api.HeldAct{{
		Action: api.HeldRevokeIdle, Count: len(h.held), Of: h.of, Why: h.why.Error(),
		Shown: "gatehouse token list --idle " + after.String(),
	}}
}

// holding counts the tokens that are held.
func (h *idleSweep) holding() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.held)
}

func newIdleState(log *slog.Logger) *lasting.State {
	return &lasting.State{
		Log: log, Level: slog.LevelWarn,
		Begins: "idle tokens are not revoked until an administrator confirms it; see `gatehouse user offboard`",
		Ends:   "the revocation of idle tokens is no longer held",
	}
}
