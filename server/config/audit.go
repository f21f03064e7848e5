package config

import (
	"fmt"
	"strconv"

	"github.com/dustin/go-humanize"
)

// Audit says how much of the audit log is kept. What exceeds either bound is dropped, the
// oldest first.
type Audit struct {
	Keep    Lifetime `toml:"keep"`
	MaxSize Size     `toml:"max_size"`
}

func (c Audit) check(f *faults) {
	if c.MaxSize.Bytes < smallestAudit {
		f.add("audit.max_size", "write at least %v", Size{smallestAudit})
	}
}

const (
	smallestAudit = 1 << 20
	largestPart   = 8 << 20
)

// Segment returns the size in bytes of the files that make up the audit log. The log is
// dropped file by file, so a small log needs small files.
func (c Audit) Segment() int64 {
	return min(max(c.MaxSize.Bytes/8, smallestAudit/8), largestPart)
}

// Size is a number of bytes. It is a struct so that TOML accepts no number for it.
type Size struct{ Bytes int64 }

func (s Size) String() string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if n := s.Bytes >> (40 - 10*i); n > 0 && n<<(40-10*i) == s.Bytes {
			return strconv.FormatInt(n, 10) + unit
		}
	}
	return strconv.FormatInt(s.Bytes, 10) + "B"
}

// UnmarshalText reads a number with a unit, such as 512MiB or 4GiB.
func (s *Size) UnmarshalText(b []byte) error {
	n, err := humanize.ParseBytes(string(b))
	if err != nil || n > 1<<60 {
		return fmt.Errorf("%q is not a size: write a number with KiB, MiB, GiB or TiB, such as 4GiB", b)
	}
	s.Bytes = int64(n)
	return nil
}
