package server

import (
	"slices"
	"strings"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage"
)

// Reload takes over a configuration that Check and CheckFiles have accepted, with the
// files that it names as they are now. It reports whether it did: if anything fails, it
// logs why, and nothing has changed. Requests see all settings as before, or all as they
// are now.
//
// All that can fail comes first: another server is made from the settings, and takes the
// addresses that are new. A changed listen or key_file is logged, and needs a restart.
//
// Reload is called by one goroutine at a time, after Listen.
func (s *Server) Reload(newer config.Config) (taken bool) {
	before := s.latest.Load()
	next := *before
	next.cfg, next.replaced = before.cfg.Adopt(newer), make(chan struct{})
	if err := next.replace(before); err != nil {
		s.log.Error("the configuration was rejected; the previous one stays in force", "error", err)
		return false
	}
	s.open.Warn()
	if list := config.Changed(next.cfg, newer); len(list) > 0 {
		s.log.Warn("some changed settings need a restart", "settings", strings.Join(list, " "))
	}
	changed := config.Changed(before.cfg, next.cfg)
	if len(changed) == 0 {
		changed = []string{"nothing"}
	}
	s.log.Info("the configuration was reloaded", "changed", strings.Join(changed, " "))
	return true
}

// replace puts s in the place of the server before.
func (s *Server) replace(before *Server) error {
	if err := s.build(before); err != nil {
		return err
	}
	settle, undo := func() {}, func() {}
	if s.ports != nil {
		var err error
		if settle, undo, err = s.ports.move(&before.cfg, &s.cfg); err != nil {
			return err
		}
	}
	if s.pair != nil {
		if err := s.pair.Use(s.cfg.TLS); err != nil {
			undo()
			return err
		}
	}
	s.latest.Store(s)
	if before.directory != nil && s.directory != nil && !slices.Equal(before.cfg.LDAP.URLs, s.cfg.LDAP.URLs) {
		s.watch.directory.Drop() // nothing is known of the other servers
	}
	close(before.replaced)
	settle()
	s.changes.SetLimit(s.cfg.Limits.ChangesPerUser)
	s.store.SetBounds(storage.Bounds{MaxPerUser: s.cfg.Tokens.MaxPerUser, KeepEvents: s.cfg.Audit.Keep.Duration, MostEvents: s.cfg.Audit.MaxSize.Bytes})
	s.watch.follow(s.oauth)
	if s.ports != nil {
		s.shareSocket()
	}
	if d := before.directory; d != nil {
		time.AfterFunc(before.cfg.LDAP.LoginTimeout(), func() { d.Close() }) // logins that it has begun may end
	}
	return nil
}
