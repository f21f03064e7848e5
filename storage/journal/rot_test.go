package journal_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/storage/journal"
	"gatehouse/storage/journal/journaltest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// aged is a journal of three segments and a blank one. It has batches of one
// and of many sectors; the last batch has three.
func aged(t testing.TB) (d *journaltest.Disk, last uint64) {
	t.Helper()
	d = journaltest.New()
	j := mustOpen(t, d, 0, small)
	for _, n := range []int{1, 3, 20, 1, 9, 18, 1, 4} {
		last = appendBatch(t, j, n, 200)
	}
	check(t, j, 1, last)
	if names, _ := d.Names(); len(names) != 4 {
		t.Fatalf("segments %v, want 4", names)
	}
	return d, last
}

// One flipped bit, or one changed byte, anywhere: Open refuses the journal and
// names the file and the sector. Nothing is lost silently, not even the end,
// although the index says nothing (Known is 0).
func TestFlipEveryBit(t *testing.T) {
	storagetest.Slow(t)
	d, _ := aged(t)
	names, _ := d.Names()
	tried := 0
	for _, name := range names {
		whole := d.Read(name)
		for at := 0; at < len(whole); at += stride {
			for bit := range 10 {
				b := append([]byte(nil), whole...)
				switch bit {
				case 8:
					b[at] ^= 0xff
				case 9:
					b[at] = 0
				default:
					b[at] ^= 1 << bit
				}
				if b[at] == whole[at] {
					continue
				}
				d.Write(name, b)
				tried++
				_, err := on(d, 0, small)
				c := corrupt(t, err)
				if c.File != "/j/"+name || c.Offset/journaltest.Sector != int64(at/journaltest.Sector) {
					t.Fatalf("%s byte %d bit %d: reported as %v", name, at, bit, c)
				}
			}
		}
		d.Write(name, whole)
	}
	t.Logf("%d changed bytes, all refused", tried)
}

// The same on real files, with one flip in each byte, and while a journal is
// open: Verify and Replay find the damage, too.
func TestFlipRealFiles(t *testing.T) {
	dir := t.TempDir()
	open := func() (*journal.Journal, error) {
		return journal.Open(dir, testKey, journal.Options{Create: true, SegmentSize: 8 * journaltest.Sector})
	}
	j, err := open()
	if err != nil {
		t.Fatal(err)
	}
	var last uint64
	for _, n := range []int{1, 9, 3, 2} {
		last = appendBatch(t, j, n, 200)
	}
	j.Close()
	files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	for _, path := range files {
		for at := 0; at < 8*journaltest.Sector; at += 3 {
			flip(t, path, at)
			j, err := open()
			if c := corrupt(t, err); c.File != path || c.Offset/journaltest.Sector != int64(at/journaltest.Sector) {
				t.Fatalf("%s byte %d: reported as %v", path, at, c)
			}
			if j != nil {
				t.Fatal("a journal with an error")
			}
			flip(t, path, at)
		}
	}
	if j, err = open(); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	check(t, j, 1, last)
	os.Rename(files[1], files[1]+".away")
	err = j.Verify(context.Background())
	if c := corrupt(t, err); c.File != files[1] {
		t.Fatalf("verify: %v", c)
	}
	os.Rename(files[1]+".away", files[1])
	flip(t, files[0], 700)
	err = j.Verify(context.Background())
	if c := corrupt(t, err); c.File != files[0] || c.Offset != journaltest.Sector {
		t.Fatalf("verify: %v", c)
	}
	if _, err := j.Append(journal.Ordinary, batchOf(last, 1, 50)); err != nil {
		t.Errorf("append: %v, want it to go on", err)
	}
}

func flip(t testing.TB, path string, at int) {
	t.Helper()
	f := must.Get(os.OpenFile(path, os.O_RDWR, 0))(t)
	defer f.Close()
	var b [1]byte
	must.Get(f.ReadAt(b[:], int64(at)))(t)
	b[0] ^= 0x10
	must.Get(f.WriteAt(b[:], int64(at)))(t)
}

// Whole sectors and pages are lost, and files are cut short. The journal is
// refused, or Known shows the loss, or only the end was lost.
func TestLostSectors(t *testing.T) {
	storagetest.Slow(t)
	d, last := aged(t)
	names, _ := d.Names()
	for _, name := range names[:3] {
		whole := d.Read(name)
		for _, size := range []int{journaltest.Sector, 4096, len(whole)} {
			for at := 0; at < len(whole); at += size {
				b := append([]byte(nil), whole...)
				clear(b[at : at+size])
				if string(b) == string(whole) {
					continue
				}
				d.Write(name, b)
				if _, err := on(d.Clone(), last, small); !errors.As(err, new(*journal.CorruptError)) {
					t.Fatalf("%s: %d bytes at %d: %v", name, size, at, err)
				}
				j, err := on(d.Clone(), 0, small)
				if err == nil && (name != names[2] || j.LastSequence() < last-4) {
					t.Fatalf("%s: %d bytes at %d: ends with %d", name, size, at, j.LastSequence())
				}
			}
		}
		for size := range whole {
			d.Write(name, whole[:size])
			_, err := on(d.Clone(), last, small)
			corrupt(t, err)
		}
		d.Write(name, whole)
	}
}

func TestMissingFiles(t *testing.T) {
	for i := range 3 {
		d, last := aged(t)
		names, _ := d.Names()
		d.Remove(names[i])
		_, err := on(d, last, small)
		if i == 0 {
			// As after pruning: the caller compares FirstSequence with its checkpoint.
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if c := corrupt(t, err); c.File != "/j/"+names[i] {
			t.Errorf("reported as %v", c)
		}
	}
	d, last := aged(t)
	names, _ := d.Names()
	for _, name := range names[:3] {
		d.Remove(name)
	}
	if _, err := on(d, 0, small); corrupt(t, err).File != "/j/"+names[2] {
		t.Errorf("got %v, want the missing file", err)
	}
	d.Remove(names[3])
	if _, err := on(d, last, small); corrupt(t, err).Offset != 0 {
		t.Errorf("got %v", err)
	}
	if _, err := journal.Open("/j", testKey, journal.Options{Disk: journaltest.New()}); !errors.Is(err, journal.ErrEmpty) {
		t.Errorf("got %v, want ErrEmpty", err)
	}
}

// Segments of two journals under one key, and one segment under another's name.
func TestMixedSegments(t *testing.T) {
	a, _ := aged(t)
	b, _ := aged(t)
	names, _ := a.Names()
	for i := range 3 {
		mixed := a.Clone()
		mixed.Write(names[i], b.Read(names[i]))
		_, err := on(mixed, 0, small)
		corrupt(t, err)
		mixed.Write(names[i], a.Read(names[(i+1)%3]))
		_, err = on(mixed, 0, small)
		corrupt(t, err)
	}
	other := testKey
	other[31]++
	_, err := journal.Open("/j", other, journal.Options{Disk: a, SegmentSize: small})
	if !errors.Is(err, journal.ErrKey) {
		t.Errorf("got %v, want ErrKey", err)
	}
}

// The journal is edited by somebody who computes new checksums but lacks the
// key. Every sector is in place, so the last batch must not pass for a torn one
// either.
func TestEdited(t *testing.T) {
	storagetest.Slow(t)
	d, _ := aged(t)
	names, _ := d.Names()
	for _, name := range names[:3] {
		whole := d.Read(name)
		for at := 0; at < len(whole); at += stride {
			b := append([]byte(nil), whole...)
			s := b[at/journaltest.Sector*journaltest.Sector:][:journaltest.Sector]
			if at%journaltest.Sector < 16 || binary.LittleEndian.Uint64(s[8:]) == 0 {
				continue // stamps, and sectors that are blank
			}
			b[at] ^= 1
			binary.LittleEndian.PutUint32(s, crc32.Checksum(s[4:], crc32.MakeTable(crc32.Castagnoli)))
			d.Write(name, b)
			_, err := on(d, 0, small)
			if at < journaltest.Sector && (errors.Is(err, journal.ErrKey) || errors.Is(err, journal.ErrVersion)) {
				continue
			}
			if c := corrupt(t, err); c.File != "/j/"+name {
				t.Fatalf("%s byte %d: reported as %v", name, at, c)
			}
		}
		d.Write(name, whole)
	}
}

// Salvage reads all but the damaged batches.
func TestSalvage(t *testing.T) {
	d, last := aged(t)
	names, _ := d.Names()
	for at := 0; at < small; at += 97 {
		for _, name := range names {
			bad := d.Clone()
			b := bad.Read(name)
			b[at] ^= 1
			bad.Write(name, b)
			got := map[uint64]bool{}
			lost := must.Get(journal.Salvage("/j", testKey, bad, func(r journal.Record) error {
				if got[r.Sequence] {
					return fmt.Errorf("record %d twice", r.Sequence)
				}
				got[r.Sequence] = true
				return right(r)
			}))(t)
			if len(lost) != 1 || len(got) < int(last)-20 {
				t.Fatalf("%s byte %d: %d places, %d records of %d", name, at, len(lost), len(got), last)
			}
		}
	}
	d.Remove(names[1])
	n := 0
	lost, err := journal.Salvage("/j", testKey, d, func(journal.Record) error { n++; return nil })
	if err != nil || len(lost) != 1 || n < 20 {
		t.Errorf("without a file: %d records, %v, %v", n, lost, err)
	}
}
