package server

import "net/netip"

// subnet is a network that an address belongs to and is counted in.
type subnet struct {
	netip.Prefix
	share int // its allowance: so many times that of a single client
}

// subnetsOf returns the networks that an address is counted in, the smallest
// first. An IPv4 address stands for one client. Of IPv6, one client has a /64 at
// least, a household often a /56, and an organisation a /48 (RFC 6177), so that
// counting any one of these alone lets the others through or punishes neighbours:
// each larger network has four times the allowance of the one before.
func subnetsOf(a netip.Addr) []subnet {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return []subnet{{netip.PrefixFrom(a, a.BitLen()), 1}}
	}
	list := make([]subnet, 0, 3)
	share := 1
	for _, bits := range []int{64, 56, 48} {
		p, err := a.Prefix(bits)
		if err != nil {
			panic(err) // the address is one of IPv6
		}
		list = append(list, subnet{p, share})
		share *= 4
	}
	return list
}

// bucket names the failures of the network in the store.
func (n subnet) bucket() string {
	if n.share == 1 {
		return "address " + addressText(n.Addr()) // unknown ones are counted together
	}
	return "network " + n.String()
}
