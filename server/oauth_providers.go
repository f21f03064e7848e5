package server

import (
	"cmp"
	"slices"
	"strings"
)

// way is the login by a provider, at /login/<Name>, as pages show it.
type way struct {
	Name  string
	Title string // what people call it, such as GitHub
}

// providers lists the logins by a provider, sorted by title.
func (s *Server) providers() []way {
	list := make([]way, 0, len(s.oauth))
	for name, p := range s.oauth {
		list = append(list, way{Name: name, Title: p.Title()})
	}
	slices.SortFunc(list, func(a, b way) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a.Title), strings.ToLower(b.Title)), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// warnProviders warns of settings that are not for production.
func (s *Server) warnProviders() {
	for _, w := range s.providers() {
		if unsafe := s.oauth[w.Name].Unsafe(); unsafe != "" {
			s.log.Warn("a provider's settings are unsafe", "provider", w.Name, "because", unsafe)
		}
	}
}
