package ipaddr

import (
	"errors"
	"net/netip"
)

// ParsePrefix reads a CIDR prefix or a single address. IPv4 may be written as IPv4-mapped
// IPv6 and is returned as IPv4, since clients are seen as IPv4. The length then counts
// the bits of IPv6, and ::ffff:10.0.0.0/8 is an error.
func ParsePrefix(text string) (netip.Prefix, error) {
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
			return p, errors.New("it contains more than IPv4 addresses")
		}
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

// Network is a network in which clients are counted together.
type Network struct {
	netip.Prefix
	Share int // its allowance, as a multiple of that of a single client
}

// Networks returns the networks that an address is counted in, the smallest first. An
// IPv4 address stands for one client. With IPv6, one client has at least a /64, a
// household often a /56, and an organisation a /48 (RFC 6177). To count only one of these
// would let the others through or punish neighbours, so each larger network has four
// times the allowance of the one before.
func Networks(a netip.Addr) []Network {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return []Network{{netip.PrefixFrom(a, a.BitLen()), 1}}
	}
	list := make([]Network, 0, 3)
	share := 1
	for _, bits := range []int{64, 56, 48} {
		p, err := a.Prefix(bits)
		if err != nil {
			panic(err) // the address is one of IPv6
		}
		list = append(list, Network{p, share})
		share *= 4
	}
	return list
}
