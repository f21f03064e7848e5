package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
)

// The form of a token, which can be checked without any key: 256 lowercase hexadecimal
// digits that encode 128 bytes, the last 4 of which are the CRC-32C of the others. Only
// the server knows whether this installation made it.
const (
	tokenLen = 256
	crcLen   = 4 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// looksRight reports whether a run of hexadecimal digits has a token's form.
func looksRight(run []byte) bool {
	var b [tokenLen / 2]byte
	if len(run) != tokenLen || bytes.ContainsAny(run, "ABCDEF") {
		return false
	}
	if _, err := hex.Decode(b[:], run); err != nil {
		return false
	}
	body := b[:len(b)-crcLen]
	return crc32.Checksum(body, castagnoli) == binary.BigEndian.Uint32(b[len(body):])
}

// isHex tells the hexadecimal digits, in either case: 256 lowercase digits that
// continue in upper case are part of something longer, not a token.
var isHex = func() (t [256]bool) {
	for _, c := range []byte("0123456789abcdefABCDEF") {
		t[c] = true
	}
	return t
}()

// finder looks for tokens in a stream of any length, in constant memory.
type finder struct {
	buf   []byte
	found func(line int, token string) error

	line int  // newlines before buf[0]
	long bool // buf begins within a run that is longer than a token
}

// newFinder returns a finder that can read one stream after another.
func newFinder(found func(line int, token string) error) *finder {
	return &finder{buf: make([]byte, 256<<10), found: found}
}

// read looks through r, and calls found with each text that has the form of a
// token and the number of its line, from 1.
func (f *finder) read(ctx context.Context, r io.Reader) error {
	f.line, f.long = 0, false
	kept := 0
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, f.buf[kept:])
		b := f.buf[:kept+n]
		end := err == io.EOF || err == io.ErrUnexpectedEOF
		if err != nil && !end {
			return err
		}
		done, err := f.look(b, end)
		if err != nil || end {
			return err
		}
		f.line += bytes.Count(b[:done], []byte{'\n'})
		kept = copy(f.buf, b[done:])
	}
}

// look searches b, and returns how many bytes of it are finished. The rest,
// at most the length of a token, has to come again together with what follows.
func (f *finder) look(b []byte, end bool) (done int, err error) {
	if f.long {
		for done < len(b) && isHex[b[done]] {
			done++
		}
		f.long = done == len(b)
	}
	for len(b)-done >= tokenLen {
		// From the end: a byte that is not a digit rules out everything before it at once.
		last := done + tokenLen - 1
		for last >= done && isHex[b[last]] {
			last--
		}
		if last >= done {
			done = last + 1
			continue
		}
		stop := done + tokenLen
		for stop < len(b) && isHex[b[stop]] {
			stop++
		}
		switch run := b[done:stop]; {
		case stop == len(b) && !end && len(run) == tokenLen:
			return done, nil // it may go on
		case stop == len(b) && !end:
			f.long = true
		case looksRight(run):
			if err := f.found(f.line+1+bytes.Count(b[:done], []byte{'\n'}), string(run)); err != nil {
				return done, err
			}
		}
		done = stop
	}
	return done, nil
}
