package server

import (
	"cmp"
	"gatehouse/server/api"
	"slices"
	"strings"
	"time"
)

// way is a way in by a provider, at /login/<Name>, as pages show it.
type way struct {
	Name  string
	Title string // what people call it, such as GitHub
}

// providers lists the ways in by a provider, always in the same order.
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

// providerHealth is how the providers have answered of late.
func (s *Server) providerHealth() []api.Health {
	list := []api.Health{}
	for _, w := range s.providers() {
		p := s.oauth[w.Name]
		st := p.Status()
		h := api.Health{
			Name: w.Name, Insecure: p.Unsafe(), Reachable: st.Reachable, LastError: st.LastError,
			Latency: float64(st.Latency) / float64(time.Millisecond),
		}
		if !st.LastSuccess.IsZero() {
			h.LastSuccess = st.LastSuccess.UnixMilli()
		}
		if !st.LastFailure.IsZero() {
			h.LastFailure = st.LastFailure.UnixMilli()
		}
		list = append(list, h)
	}
	return list
}
