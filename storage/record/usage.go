package record

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"

	"gatehouse/storage/disk"
)

// Usage describes a token's uses, apart from the time of the last one.
type Usage struct {
	Uses   int64
	Seen   []Seen     // the newest first; each address once, with its latest agent
	PerDay []DayCount // the uses of each day, the oldest first

	// First is the address that was noted first. In Seen it moves up if it was used again,
	// and may have left the list. The index does not store it.
	First netip.Addr
}

// Seen is an address from which a token was used, and the time of its last use
// there.
type Seen struct {
	Origin
	Time int64 // ms
}

// Origin describes the client that uses a token, as far as the connection shows
// it.
type Origin struct {
	Address netip.Addr
	Agent   string // what the client calls itself; 100 bytes of it are kept
}

// DayCount counts the uses of one day.
type DayCount struct {
	Day int32 // as [DayOf] numbers it
	N   int64
}

const (
	// KeepDays is for how many days a usage has a count.
	KeepDays = 30
	// MsOfDay is the length of a day in ms.
	MsOfDay = 24 * 60 * 60 * 1000

	// MaxSeen is how many addresses a usage keeps.
	MaxSeen = 5
	// MaxAgent is how many bytes of a client's agent are kept.
	MaxAgent = 100
)

// DayOf numbers the days (UTC) from 1970; ms is a time in it.
func DayOf(ms int64) int32 { return int32(ms / MsOfDay) }

// Cut shortens the client's agent to MaxAgent.
func (o Origin) Cut() Origin {
	if len(o.Agent) > MaxAgent {
		o.Agent = o.Agent[:MaxAgent]
	}
	return o
}

// AppendTo writes address and agent, each after its length.
func (o Origin) AppendTo(b []byte) []byte {
	a := o.Address.AsSlice()
	b = append(append(b, byte(len(a))), a...)
	return append(append(b, byte(len(o.Agent))), o.Agent...)
}

// Days returns the uses on each of the last 30 days, the oldest first; ms is
// now.
func (u *Usage) Days(ms int64) []int64 {
	list := make([]int64, KeepDays)
	for _, d := range u.PerDay {
		if ago := DayOf(ms) - d.Day; ago >= 0 && ago < KeepDays {
			list[KeepDays-1-ago] += d.N
		}
	}
	return list
}

// Count adds uses on a day.
func (u *Usage) Count(day int32, n int64) {
	u.Uses += n
	*u.at(day) += n
}

// at returns the count of a day, and adds it if it is missing. It drops days that are
// too old to be shown. It does not measure their age from the last day, because a
// wrong clock may have put that ten years ahead.
func (u *Usage) at(day int32) *int64 {
	at, ok := slices.BinarySearchFunc(u.PerDay, day, func(d DayCount, day int32) int { return int(d.Day) - int(day) })
	if !ok {
		u.PerDay = slices.Insert(u.PerDay, at, DayCount{Day: day})
		if n := len(u.PerDay); n > 2 && u.PerDay[0].Day <= u.PerDay[n-2].Day-KeepDays && at > 0 {
			u.PerDay = slices.Delete(u.PerDay, 0, 1)
			at--
		}
	}
	return &u.PerDay[at].N
}

// Saw notes an origin. An address counts once: a client that changes its agent with
// each request must not displace the addresses of others. Within one millisecond,
// the order of the calls decides.
func (u *Usage) Saw(v Seen) {
	if !v.Address.IsValid() {
		return
	}
	if !u.First.IsValid() {
		u.First = v.Address
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
	if u.Seen = slices.Insert(u.Seen, at, v); len(u.Seen) > MaxSeen {
		u.Seen = u.Seen[:MaxSeen]
	}
}

// Add adds another usage.
func (u *Usage) Add(v *Usage) {
	for _, d := range v.PerDay {
		u.Count(d.Day, d.N)
	}
	if !u.First.IsValid() {
		u.First = v.First
	}
	for _, s := range slices.Backward(v.Seen) {
		u.Saw(s)
	}
}

// Believed replaces times after limit by instead, both in ms, and reports whether
// there were any. It moves uses that were counted on later days to the day of
// instead.
func (u *Usage) Believed(limit, instead int64) (changed bool) {
	if limit == math.MaxInt64 {
		return false
	}
	for i := range u.Seen {
		if u.Seen[i].Time > limit {
			u.Seen[i].Time, changed = instead, true
		}
	}
	n := int64(0)
	u.PerDay = slices.DeleteFunc(u.PerDay, func(d DayCount) bool {
		late := d.Day > DayOf(limit)
		if late {
			n += d.N
		}
		return late
	})
	if n > 0 {
		*u.at(DayOf(instead)) += n
	}
	return changed || n > 0
}

// UsageRecord is what the index has about a token's uses. It is separate from the
// token's record, so that using a token never touches the record that says
// whether the token is live:
//
//	last use 8 | mark | uses | days: how many, then gap and uses of each |
//	origins: how many, then time, address and agent of each
//
// The numbers after the last use are uvarints; address and agent have their lengths
// before them.
type UsageRecord struct {
	Used LastUse
	Mark uint64 // the last block of the log of uses that is counted in this record
	Usage
}

// Take adds newer uses. Their last use is the latest: if r has a later time, that was
// written by a clock that was ahead.
func (r *UsageRecord) Take(v *UsageRecord) {
	if v.Used.IsUse() {
		r.Used = v.Used
	}
	r.Add(&v.Usage)
}

// Value is the record's bytes.
func (r *UsageRecord) Value() []byte {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(r.Used))
	b = binary.AppendUvarint(b, r.Mark)
	b = binary.AppendUvarint(b, uint64(r.Uses))
	b = binary.AppendUvarint(b, uint64(len(r.PerDay)))
	before := int32(0)
	for _, d := range r.PerDay {
		b = binary.AppendUvarint(b, uint64(d.Day-before))
		b = binary.AppendUvarint(b, uint64(d.N))
		before = d.Day
	}
	b = binary.AppendUvarint(b, uint64(len(r.Seen)))
	for _, v := range r.Seen {
		b = binary.AppendUvarint(b, uint64(v.Time))
		b = v.Origin.AppendTo(b)
	}
	return b
}

// Believed replaces times after limit by instead; both are in ms.
func (r *UsageRecord) Believed(limit, instead int64) {
	r.Used = r.Used.Believed(limit, instead)
	r.Usage.Believed(limit, instead)
}

// ParseUsage decodes the output of Value.
func ParseUsage(b []byte) (r UsageRecord, err error) {
	err = r.parse(b, true)
	return r, err
}

// ParseSeen decodes only the addresses of the output of Value, without the agents. It
// reuses the memory of r.
func (r *UsageRecord) ParseSeen(b []byte) error { return r.parse(b, false) }

func (r *UsageRecord) parse(b []byte, all bool) error {
	c := Cutter{Rest: b}
	r.Used = LastUse(binary.BigEndian.Uint64(c.Bytes(8)))
	r.Mark, r.Uses = c.Number(), int64(c.Number())
	r.PerDay, r.Seen = r.PerDay[:0], r.Seen[:0]
	day := int32(0)
	for n := c.Number(); n > 0 && !c.Failed; n-- {
		day += int32(c.Number())
		if count := int64(c.Number()); all {
			r.PerDay = append(r.PerDay, DayCount{day, count})
		}
	}
	for n := c.Number(); n > 0 && !c.Failed; n-- {
		r.Seen = append(r.Seen, Seen{Time: int64(c.Number()), Origin: c.origin(all)})
	}
	if c.Failed || len(c.Rest) > 0 {
		return fmt.Errorf("%w: a token's usage has an unknown form", disk.ErrDamaged)
	}
	return nil
}
