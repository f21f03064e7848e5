package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// remoteKey is the context key of the address at the other end of a connection.
type remoteKey struct{}

// withRemote reads that address once, for all requests of the connection.
func withRemote(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, remoteKey{}, remote(c.RemoteAddr().String()))
}

// remote reads an address as net writes it; what is none is the zero Addr.
func remote(address string) netip.Addr {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// clientAddress is the peer's address or, when the peer is a trusted proxy,
// the last address in X-Forwarded-For that is not one.
func (s *Server) clientAddress(r *http.Request) netip.Addr {
	addr, known := r.Context().Value(remoteKey{}).(netip.Addr)
	if !known {
		addr = remote(r.RemoteAddr)
	}
	if len(s.config().TrustedProxies) == 0 || !s.trusted(addr) {
		return addr
	}
	for hops := strings.Join(r.Header["X-Forwarded-For"], ","); ; {
		comma := strings.LastIndexByte(hops, ',')
		hop, err := parseHop(strings.TrimSpace(hops[comma+1:]))
		if err != nil {
			return addr
		}
		if addr = hop; comma < 0 || !s.trusted(addr) {
			return addr
		}
		hops = hops[:comma]
	}
}

// parseHop reads an address as proxies write it: bare, in brackets, or with a port.
func parseHop(text string) (netip.Addr, error) {
	if n := len(text) - 1; n > 0 && text[0] == '[' && text[n] == ']' {
		text = text[1:n]
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		ap, err := netip.ParseAddrPort(text)
		if err != nil {
			return a, err
		}
		a = ap.Addr()
	}
	return a.Unmap().WithZone(""), nil
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.config().TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
