package server

import "gatehouse/server/oauth"

// warnProviders warns of settings that are not for production.
func (s *Server) warnProviders() {
	for _, p := range oauth.Sorted(s.oauth) {
		if unsafe := p.Unsafe(); unsafe != "" {
			s.log.Warn("a provider's settings are unsafe", "provider", p.Name(), "because", unsafe)
		}
	}
}
