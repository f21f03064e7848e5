// Package ipaddr reads the IP addresses of clients: who is at the other end of a
// connection, which client a reverse proxy speaks for, and which networks an address
// belongs to.
//
// A request's address is decided in one place, [Client]: the connection's own, or, behind
// a trusted proxy, the last address in X-Forwarded-For that is not a proxy's. All
// addresses that leave the package are in one form, without a zone and with IPv4 as IPv4,
// so they can be compared.
//
// The package never resolves a name, opens no connection, and keeps no state. The caller
// says which proxies are trusted.
package ipaddr

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// remoteKey is the context key of the address at the other end of a connection.
type remoteKey struct{}

// socket stands for the address of the other end of a unix socket.
type socket struct{}

// WithRemote reads the address of a connection's other end once, for all its requests. It
// is an http.Server's ConnContext. The other end of a unix socket has no address: it is a
// proxy, because the mode of the socket says who may connect.
func WithRemote(ctx context.Context, c net.Conn) context.Context {
	if c.RemoteAddr().Network() == "unix" {
		return context.WithValue(ctx, remoteKey{}, socket{})
	}
	return context.WithValue(ctx, remoteKey{}, Remote(c.RemoteAddr().String()))
}

// Remote reads an address as package net writes it. Without an address in the text, it
// returns the zero Addr.
func Remote(address string) netip.Addr {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// Client returns the address of the connection or, when that belongs to one of the
// proxies or is a unix socket, the last address in X-Forwarded-For that does not.
//
// If a proxy sends no such header, or an unreadable one, the client is unknown: the zero
// Addr, which is in no list of addresses. To take the proxy's own address instead would
// let in everybody who gets such a header past the proxy.
func Client(r *http.Request, proxies []netip.Prefix) netip.Addr {
	remote := r.Context().Value(remoteKey{})
	addr, known := remote.(netip.Addr)
	if _, proxy := remote.(socket); !proxy {
		if !known {
			addr = Remote(r.RemoteAddr)
		}
		if !In(proxies, addr) {
			return addr
		}
	}
	for hops := strings.Join(r.Header["X-Forwarded-For"], ","); ; {
		comma := strings.LastIndexByte(hops, ',')
		hop, err := Parse(strings.TrimSpace(hops[comma+1:]))
		if err != nil {
			return netip.Addr{}
		}
		if comma < 0 || !In(proxies, hop) {
			return hop
		}
		hops = hops[:comma]
	}
}

// Parse reads an address as proxies write it: bare, in brackets, or with a port.
func Parse(text string) (netip.Addr, error) {
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

// Text writes an address for the audit log: "unknown" for the zero Addr.
func Text(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	return a.String()
}

// In reports whether an address is in one of the networks.
func In(networks []netip.Prefix, a netip.Addr) bool {
	for _, p := range networks {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
