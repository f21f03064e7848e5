package server

import (
	"context"
	"time"

	"gatehouse/storage"
)

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
			return
		}
	}
}

// revokeIdle counts from the last use or, where that is later, from the first
// start after a restore: a backup does not know of the uses since it was made.
func (s *Server) revokeIdle(after time.Duration) {
	f := storage.TokenFilter{IdleSince: s.now().Add(-after).UnixMilli()}
	if s.store.RestoredAt() > f.IdleSince {
		return
	}
	ids, err := s.store.MatchTokens(f)
	if err != nil {
		s.log.Error("idle tokens are not revoked", "error", err)
		return
	}
	n, err := s.store.RevokeMatching(storage.Actor{Name: "revoke_idle_after"}, f, ids)
	s.metrics.revocations.Add(float64(n))
	if err != nil {
		s.log.Error("idle tokens are not revoked", "error", err)
	}
	if n > 0 {
		s.log.Info("idle tokens revoked", "tokens", n)
	}
}
