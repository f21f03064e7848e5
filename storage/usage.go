package storage

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Usage is what is known of a token's uses, beside when the last one was.
type Usage struct {
	Uses int64
	Seen []Seen // the newest first; each address once, with its latest agent
	days []dayUses
}

// Seen is an address that a token was used from, and when last.
type Seen struct {
	Origin
	Time int64 // ms
}

// Origin is who uses a token, as far as the connection tells.
type Origin struct {
	Address netip.Addr
	Agent   string // what the client calls itself; 100 bytes of it are kept
}

// dayUses counts the uses of one day (UTC), which is numbered from 1970.
type dayUses struct {
	day int32
	n   int64
}

const (
	maxSeen  = 5
	maxAgent = 100
	keepDays = 30
	msOfDay  = 24 * 60 * 60 * 1000
)

func dayOf(ms int64) int32 { return int32(ms / msOfDay) }

// cut bounds what a client says of itself.
func (o Origin) cut() Origin {
	if len(o.Agent) > maxAgent {
		o.Agent = o.Agent[:maxAgent]
	}
	return o
}

// Days returns the uses a day of the last 30 days, the oldest first; ms is now.
func (u *Usage) Days(ms int64) []int64 {
	list := make([]int64, keepDays)
	for _, d := range u.days {
		if ago := dayOf(ms) - d.day; ago >= 0 && ago < keepDays {
			list[keepDays-1-ago] += d.n
		}
	}
	return list
}

// count adds uses on a day.
func (u *Usage) count(day int32, n int64) {
	u.Uses += n
	*u.at(day) += n
}

// at is the count of a day, which is made if it is not there; the days too old
// to be shown go. That is not counted from the last day, which may be in ten years, by a
// clock that is wrong.
func (u *Usage) at(day int32) *int64 {
	at, ok := slices.BinarySearchFunc(u.days, day, func(d dayUses, day int32) int { return int(d.day) - int(day) })
	if !ok {
		u.days = slices.Insert(u.days, at, dayUses{day: day})
		if n := len(u.days); n > 2 && u.days[0].day <= u.days[n-2].day-keepDays && at > 0 {
			u.days = slices.Delete(u.days, 0, 1)
			at--
		}
	}
	return &u.days[at].n
}

// saw notes an origin. An address counts once: whoever changes the agent with
// each request must not drive out where others come from. Of what happened in
// one millisecond, what is noted later is later.
func (u *Usage) saw(v Seen) {
	if !v.Address.IsValid() {
		return
	}
	if i := slices.IndexFunc(u.Seen, func(o Seen) bool { return o.Address == v.Address }); i >= 0 {
		if u.Seen[i].Time > v.Time {
			return
		}
		u.Seen = slices.Delete(u.Seen, i, i+1)
	}
	at := slices.IndexFunc(u.Seen, func(o Seen) bool { return o.Time <= v.Time })
	if at < 0 {
		at = len(u.Seen)
	}
	if u.Seen = slices.Insert(u.Seen, at, v); len(u.Seen) > maxSeen {
		u.Seen = u.Seen[:maxSeen]
	}
}

// Add takes in another usage.
func (u *Usage) Add(v *Usage) {
	for _, d := range v.days {
		u.count(d.day, d.n)
	}
	for _, s := range slices.Backward(v.Seen) {
		u.saw(s)
	}
}

// A token's usage is kept apart from its record, so that using a token never
// touches what says whether it lives:
//
//	lastUse 8 | mark | uses | days: how many, then gap and uses of each |
//	origins: how many, then time, address and agent of each
//
// The numbers after lastUse are uvarints; address and agent have their lengths
// before them. The mark is the last block of the log of uses (uselog.go) whose
// uses are counted in.
type usageRecord struct {
	used lastUse
	mark uint64
	Usage
}

func (r *usageRecord) value() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(r.used))
	b = binary.AppendUvarint(b, r.mark)
	b = binary.AppendUvarint(b, uint64(r.Uses))
	b = binary.AppendUvarint(b, uint64(len(r.days)))
	before := int32(0)
	for _, d := range r.days {
		b = binary.AppendUvarint(b, uint64(d.day-before))
		b = binary.AppendUvarint(b, uint64(d.n))
		before = d.day
	}
	b = binary.AppendUvarint(b, uint64(len(r.Seen)))
	for _, v := range r.Seen {
		b = binary.AppendUvarint(b, uint64(v.Time))
		b = v.Origin.append(b)
	}
	return b
}

func (o Origin) append(b []byte) []byte {
	a := o.Address.AsSlice()
	b = append(append(b, byte(len(a))), a...)
	return append(append(b, byte(len(o.Agent))), o.Agent...)
}

func parseUsage(b []byte) (r usageRecord, err error) {
	c := cutter{rest: b}
	r.used = lastUse(binary.BigEndian.Uint64(c.bytes(8)))
	r.mark, r.Uses = c.number(), int64(c.number())
	day := int32(0)
	for n := c.number(); n > 0 && !c.failed; n-- {
		day += int32(c.number())
		r.days = append(r.days, dayUses{day, int64(c.number())})
	}
	for n := c.number(); n > 0 && !c.failed; n-- {
		r.Seen = append(r.Seen, Seen{Time: int64(c.number()), Origin: c.origin()})
	}
	if c.failed || len(c.rest) > 0 {
		return r, fmt.Errorf("%w: a token's usage has an unknown form", ErrDamaged)
	}
	return r, nil
}

// parseLastUse reads only the beginning of a usage.
func parseLastUse(b []byte) lastUse {
	if len(b) < 8 {
		return 0
	}
	return lastUse(binary.BigEndian.Uint64(b))
}

// cutter cuts what was appended off again. After a failure it goes on with zeros.
type cutter struct {
	rest   []byte
	failed bool
}

func (c *cutter) bytes(n int) []byte {
	if n > len(c.rest) {
		c.failed, c.rest = true, nil
		return make([]byte, n)
	}
	b := c.rest[:n]
	c.rest = c.rest[n:]
	return b
}

func (c *cutter) number() uint64 {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		c.failed, c.rest = true, nil
		return 0
	}
	c.rest = c.rest[n:]
	return v
}

func (c *cutter) origin() (o Origin) {
	a := c.bytes(int(c.bytes(1)[0]))
	o.Address, _ = netip.AddrFromSlice(a)
	o.Agent = strings.Clone(string(c.bytes(int(c.bytes(1)[0]))))
	return o
}
