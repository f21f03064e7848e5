package record

import "encoding/binary"

// LastUse is a time of use that compares as a number: ms<<1, and the lowest bit
// distinguishes a use from the creation, which may be in the same millisecond.
type LastUse int64

// UsedAt returns the LastUse of a use at a time in ms.
func UsedAt(ms int64) LastUse { return LastUse(ms<<1 | 1) }

// CreatedAt returns the LastUse of a token that was created at a time in ms and
// never used.
func CreatedAt(ms int64) LastUse { return LastUse(ms << 1) }

// Ms returns the time in ms.
func (u LastUse) Ms() int64 { return int64(u) >> 1 }

// IsUse reports whether u is the time of a use, and not of the creation.
func (u LastUse) IsUse() bool { return u&1 != 0 }

// Later returns the later of two last uses of one token. A use is later than the creation,
// even if a wrong clock has given the creation a later time.
func (u LastUse) Later(v LastUse) LastUse {
	if u.IsUse() != v.IsUse() {
		if u.IsUse() {
			return u
		}
		return v
	}
	return max(u, v)
}

// Shown returns the time in ms that listings show. A use in the millisecond of
// the creation counts as one in the next millisecond, because lastUsed equal to
// created means never.
func (u LastUse) Shown(created int64) int64 {
	if ms := u.Ms(); !u.IsUse() || ms > created {
		return ms
	}
	return created + 1
}

// Believed replaces a time after limit by instead; both are in ms.
func (u LastUse) Believed(limit, instead int64) LastUse {
	if u.Ms() <= limit {
		return u
	}
	return CreatedAt(instead) | u&1
}

// ParseLastUse reads only the beginning of the record of a token's usage.
func ParseLastUse(b []byte) LastUse {
	if len(b) < 8 {
		return 0
	}
	return LastUse(binary.BigEndian.Uint64(b))
}
