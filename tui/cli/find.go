package cli

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"io"
	"slices"
)

// The form of a token, which can be checked without any key: 256 lowercase hexadecimal
// digits that encode 128 bytes, the last 4 of which are the CRC-32C of the others. Only
// the server knows whether this installation made it.
const (
	tokenLen = 256
	crcLen   = 4 // bytes
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// isHex tells the digits of a token.
var isHex = func() (t [256]bool) {
	for _, c := range []byte("0123456789abcdef") {
		t[c] = true
	}
	return t
}()

// finder looks for tokens in a stream of any length, in constant memory. It finds them
// among other digits too: in a URL a token may follow %20 or %3D.
type finder struct {
	buf     []byte
	decoded []byte // of a run of digits in buf
	found   func(line int, token string) error

	line int // newlines before buf[0]
}

// newFinder returns a finder that can read one stream after another.
func newFinder(found func(line int, token string) error) *finder {
	const size = 256 << 10
	return &finder{buf: make([]byte, size), decoded: make([]byte, size/2), found: found}
}

// read looks through r, and calls found with each text that has the form of a
// token and the number of its line, from 1.
func (f *finder) read(ctx context.Context, r io.Reader) error {
	f.line = 0
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
		done, err := f.look(b)
		if err != nil || end {
			return err
		}
		f.line += bytes.Count(b[:done], []byte{'\n'})
		kept = copy(f.buf, b[done:])
	}
}

// look searches b, and returns how many bytes of it are finished. The rest, less than
// the length of a token, has to come again together with what follows.
func (f *finder) look(b []byte) (done int, err error) {
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
		for _, at := range f.within(b[done:stop]) {
			at += done
			if err := f.found(f.line+1+bytes.Count(b[:at], []byte{'\n'}), string(b[at:at+tokenLen])); err != nil {
				return done, err
			}
		}
		done = stop - tokenLen + 1
	}
	return done, nil
}

// within returns where in a run of digits a token begins. A byte may begin at each digit,
// so the run is decoded twice.
func (f *finder) within(run []byte) (places []int) {
	for shift := range 2 {
		n, _ := hex.Decode(f.decoded, run[shift:shift+(len(run)-shift)&^1])
		for at := 0; at+tokenLen/2 <= n; at++ {
			sum := at + tokenLen/2 - crcLen
			if crc32.Checksum(f.decoded[at:sum], castagnoli) == binary.BigEndian.Uint32(f.decoded[sum:]) {
				places = append(places, shift+2*at)
			}
		}
	}
	slices.Sort(places)
	return places
}
