package server

import (
	"strings"

	"gatehouse/server/config"
)

// Reload takes over what a configuration that Check and CheckFiles have accepted says
// differently, and reads the certificate again. It logs what has changed, and which
// settings need a restart. It reports whether it took it over. Only one
// goroutine at a time may call it, after Listen.
func (s *Server) Reload(newer config.Config) (taken bool) {
	before := *s.config()
	now := before.Adopt(newer)
	if s.pair != nil {
		if err := s.pair.Use(now.TLS); err != nil {
			s.log.Error("the configuration is not taken: what was in force stays", "error", err)
			return false
		}
	}
	s.settings.Store(&now)
	s.changes.SetLimit(now.Limits.ChangesPerUser)
	s.shareSocket()
	s.open.Warn()
	if list := config.Changed(now, newer); len(list) > 0 {
		s.log.Warn("settings have changed that need a restart", "settings", strings.Join(list, " "))
	}
	changed := config.Changed(before, now)
	if len(changed) == 0 {
		changed = []string{"nothing"}
	}
	s.log.Info("the configuration has been read again", "changed", strings.Join(changed, " "))
	return true
}
