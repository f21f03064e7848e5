package journal_test

import (
	"errors"
	"testing"

	"gatehouse/storage/journal"
)

// FuzzOpen changes arbitrary bytes of a journal of three segments and cuts files
// short. The journal is refused with file and offset, or everything reads right,
// except perhaps the last batch if all of its sectors were cleared.
func FuzzOpen(f *testing.F) {
	d, last := aged(f)
	names, _ := d.Names()
	f.Add([]byte{2, 0, 3, 0}, uint16(0))
	f.Add([]byte{0, 31, 255, 1, 1, 7, 7, 7, 3, 0, 0, 1}, uint16(4000))
	f.Fuzz(func(t *testing.T, edits []byte, short uint16) {
		d := d.Clone()
		for ; len(edits) >= 4; edits = edits[4:] {
			name := names[edits[0]%4]
			b := d.Read(name)
			at := (int(edits[1])<<8 | int(edits[2])) % len(b)
			if edits[3] == 0 {
				clear(b[at/512*512:][:512]) // a lost sector
			} else {
				b[at] ^= edits[3]
			}
			d.Write(name, b)
		}
		if short > 0 {
			name := names[short%4]
			b := d.Read(name)
			d.Write(name, b[:int(short)%len(b)])
		}
		j, err := on(d, 0, small)
		if err != nil {
			if !errors.As(err, new(*journal.CorruptError)) {
				t.Fatal(err)
			}
			return
		}
		if got := j.LastSequence(); got > last || got+4 < last {
			t.Fatalf("ends with %d, want %d", got, last)
		}
		check(t, j, 1, j.LastSequence())
		check(t, j, 1, appendBatch(t, j, 3, 300))
	})
}
