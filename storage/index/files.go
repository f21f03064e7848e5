package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	badgertable "github.com/dgraph-io/badger/v4/table"

	"gatehouse/storage/disk"
)

// Badger is opened only on files that were verified here, because its reaction
// to damage is worse than an error. A Get that meets a block with a wrong
// checksum goes on to the next level and returns the previous version, or
// nothing. An iterator skips the rest of the table. A compaction makes that
// permanent. A wrong length in a table's footer ends the process (log.Fatal, in
// a goroutine, where nothing can recover it). Reading the tables once, at each
// opening, costs about as much as copying them.

// CheckFiles verifies the files of an index that is not open. It cuts off the parts of
// Badger's logs that Badger would drop.
func CheckFiles(dir string) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, f); err != nil { // Badger would report an unreadable file as a bad one
		f.Close()
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		f.Close()
		return err
	}
	manifest, _, err := badger.ReplayManifestFile(f, 0, badgerOptions(dir))
	f.Close()
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	// Check only tables in the manifest: a table that was being made when the
	// power failed may be incomplete.
	var files []string
	for id := range manifest.Tables {
		files = append(files, badgertable.NewFilename(id, dir))
	}
	if err := checkTables(files); err != nil {
		return err
	}
	logs, err := MemoryLogs(dir)
	for _, file := range logs {
		err = errors.Join(err, trimLog(file))
	}
	return err
}

// MemoryLogs returns the names of the logs of Badger's memory tables. Unlike
// [filepath.Glob] it does not mistake an unreadable directory for an empty one.
func MemoryLogs(dir string) (files []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".mem") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, err
}

func checkTables(files []string) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, runtime.GOMAXPROCS(0))
	for w := range errs {
		wg.Go(func() {
			var buf bytes.Buffer
			for n := next.Add(1) - 1; n < int64(len(files)); n = next.Add(1) - 1 {
				if errs[w] = checkTable(files[n], &buf); errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// checkTable verifies a table of Badger's, format 8, neither compressed nor
// encrypted:
//
//	blocks | index | length of the index 4 | checksum | length of the checksum 4
func checkTable(file string, buf *bytes.Buffer) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	buf.Reset()
	if _, err := buf.ReadFrom(f); err != nil {
		return err
	}
	bad := fmt.Errorf("%w: %s", disk.ErrDamaged, file)
	b := buf.Bytes()
	rest, sum, ok := cutChecksum(b)
	if !ok || len(rest) < 4 {
		return fmt.Errorf("%w: its footer", bad)
	}
	n := binary.BigEndian.Uint32(rest[len(rest)-4:])
	rest = rest[:len(rest)-4]
	if n == 0 || uint64(n) > uint64(len(rest)) {
		return fmt.Errorf("%w: its footer", bad)
	}
	index := rest[len(rest)-int(n):]
	if !rightChecksum(index, sum) {
		return fmt.Errorf("%w: its index", bad)
	}
	t := fb.GetRootAsTableIndex(index, 0)
	var block fb.BlockOffset
	for i := range t.OffsetsLength() {
		if i%64 == 0 {
			runtime.Gosched() // let requests run: tokens may be verified already
		}
		t.Offsets(&block, i)
		from, to := uint64(block.Offset()), uint64(block.Offset())+uint64(block.Len())
		if to > uint64(len(b)) {
			return fmt.Errorf("%w: block %d", bad, i)
		}
		data, sum, ok := cutChecksum(b[from:to])
		if !ok || !rightChecksum(data, sum) {
			return fmt.Errorf("%w: the block at byte %d", bad, from)
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// cutChecksum cuts the checksum and its length off the end.
func cutChecksum(b []byte) (rest, sum []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := binary.BigEndian.Uint32(b[len(b)-4:])
	b = b[:len(b)-4]
	if uint64(n) > uint64(len(b)) {
		return nil, nil, false
	}
	at := len(b) - int(n)
	return b[:at], b[at:], true
}

// rightChecksum reads a checksum as Badger writes it: a protocol buffer with
// the CRC-32C as its second field.
func rightChecksum(data, sum []byte) bool {
	if len(sum) == 0 {
		return crc32.Checksum(data, castagnoli) == 0 // the field has its default value
	}
	want, n := binary.Uvarint(sum[1:])
	return sum[0] == 2<<3 && n == len(sum)-1 && want == uint64(crc32.Checksum(data, castagnoli))
}

// trimLog cuts the log of a memory table at its first incomplete entry, as Badger
// would. But Badger first allocates the length that the entry claims, up to 8 GiB.
// And where nothing was written yet, it reads a hole through a memory map: on a full
// tmpfs that kills the process (SIGBUS).
func trimLog(file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if len(b) < logHead {
		return os.Remove(file) // created just before the power failed
	}
	at := logHead
	for n := entryLength(b[at:]); n > 0; n = entryLength(b[at:]) {
		at += n
	}
	if at == len(b) {
		return nil
	}
	return os.Truncate(file, int64(at))
}

// logHead is the number of bytes before the first entry of such a log.
const logHead = 20

// entryLength returns the length of the entry at the start of b, or 0 if the
// entry is not complete.
//
//	meta 2 | lengths of key and value, and end of life, as uvarints | key | value | CRC-32C 4
func entryLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	at := uint64(2)
	var fields [3]uint64
	for i := range fields {
		v, n := binary.Uvarint(b[at:])
		if n <= 0 {
			return 0
		}
		fields[i], at = v, at+uint64(n)
	}
	size := uint64(len(b))
	if fields[0] == 0 || fields[0] > 1<<16 || fields[1] > size || at+fields[0]+fields[1]+4 > size {
		return 0
	}
	at += fields[0] + fields[1]
	if binary.BigEndian.Uint32(b[at:]) != crc32.Checksum(b[:at], castagnoli) {
		return 0
	}
	return int(at) + 4
}
