package server

import (
	"context"
	"errors"
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

// clientAddress is the peer's address or, when the peer is a trusted proxy, the last
// address in X-Forwarded-For that is not one.
//
// If a trusted proxy says nothing there, or what can't be read, the client is unknown:
// the zero Addr, which is in no list of addresses. The proxy's own address would let in
// everybody who gets such a header past the proxy.
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
			return netip.Addr{}
		}
		if comma < 0 || !s.trusted(hop) {
			return hop
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

// addressText writes an address for the audit log.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	return a.String()
}

// parsePrefix reads a CIDR prefix or a single address. IPv4 may be written as
// IPv4-mapped IPv6, as which clients are never seen: the length must then be one of
// IPv6, too, and ::ffff:10.0.0.0/8 is refused.
func parsePrefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return a.Prefix(a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, err
	}
	if a := p.Addr(); a.Is4In6() {
		if p.Bits() < 96 {
			return p, errors.New("it reaches beyond IPv4")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func (s *Server) trusted(a netip.Addr) bool {
	for _, p := range s.config().TrustedProxies {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
