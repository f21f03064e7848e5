package record

import (
	"encoding/binary"
	"net/netip"
)

// Cutter decodes a sequence of values. After a failure it returns zeros, so
// callers need to check Failed only at the end.
type Cutter struct {
	Rest   []byte
	Failed bool
}

// Bytes cuts off n bytes.
func (c *Cutter) Bytes(n int) []byte {
	if n > len(c.Rest) {
		c.Failed, c.Rest = true, nil
		return make([]byte, n)
	}
	b := c.Rest[:n]
	c.Rest = c.Rest[n:]
	return b
}

// Number cuts off a uvarint.
func (c *Cutter) Number() uint64 {
	v, n := binary.Uvarint(c.Rest)
	if n <= 0 {
		c.Failed, c.Rest = true, nil
		return 0
	}
	c.Rest = c.Rest[n:]
	return v
}

// Origin cuts off what [Origin.AppendTo] appended.
func (c *Cutter) Origin() Origin { return c.origin(true) }

func (c *Cutter) origin(agent bool) (o Origin) {
	a := c.Bytes(int(c.Bytes(1)[0]))
	o.Address, _ = netip.AddrFromSlice(a)
	if name := c.Bytes(int(c.Bytes(1)[0])); agent {
		o.Agent = string(name)
	}
	return o
}
