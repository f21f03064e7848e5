package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"

	"gatehouse/storage"
)

// sample are the secrets of random live tokens, of how many they are, and how
// often all tokens together had been used before.
type sample struct {
	secrets []storage.Secret
	of      int
	uses    int64
}

// each opens the store, which must not be in use, shows all of its tokens, and
// closes it again.
func (v *versus) each(ctx context.Context, show func(*storage.Store, storage.Token)) (err error) {
	store, err := storage.Open(v.data, storage.Options{Holder: "versus"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	<-store.Loaded() // so that it is left as after a clean stop
	<-store.Counted()
	for t, err := range store.Tokens(storage.TokenFilter{}) {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		show(store, t)
	}
	return nil
}

// draw takes only tokens without limits, for the others must be looked up.
func (v *versus) draw(ctx context.Context) (s sample, err error) {
	err = v.each(ctx, func(store *storage.Store, t storage.Token) {
		s.uses += t.Usage.Uses
		if t.Revoked != 0 || t.OwnerState != storage.UserActive || t.Limited() {
			return
		}
		// Each of those seen so far is among the drawn with the same chance.
		if s.of++; len(s.secrets) < v.tokens {
			s.secrets = append(s.secrets, store.Reveal(t))
		} else if n := rand.IntN(s.of); n < v.tokens {
			s.secrets[n] = store.Reveal(t)
		}
	})
	if err == nil && s.of == 0 {
		err = errors.New("the store has no live token without limits: make some with gatehouse demo --no-serve")
	}
	return s, err
}

// uses is how often all tokens together have been used.
func (v *versus) uses(ctx context.Context) (n int64, err error) {
	err = v.each(ctx, func(_ *storage.Store, t storage.Token) { n += t.Usage.Uses })
	return n, err
}

// kind is what is done to tokens before they are sent.
type kind struct {
	name   string
	status int // what the gate must answer
	change func(token []byte)
}

var kinds = [...]kind{
	{"live", 200, func([]byte) {}},
	{"forged", 401, func(b []byte) { forge(b) }},
	{"mistyped", 401, func(b []byte) { b[len(b)/2] ^= 1 << rand.IntN(8) }},
}

// forge changes the keyed part, and makes the CRC-32C of the last four bytes
// right for it.
func forge(b []byte) {
	end := len(b) - crc32.Size
	b[end-1-rand.IntN(100)] ^= 1 << rand.IntN(8)
	binary.BigEndian.PutUint32(b[end:], crc32.Checksum(b[:end], crc32.MakeTable(crc32.Castagnoli)))
}

// lines are the tokens as that kind, one a line.
func (k kind) lines(secrets []storage.Secret) (string, error) {
	var out strings.Builder
	for _, s := range secrets {
		b, err := hex.DecodeString(s.Reveal())
		if err != nil {
			return "", err
		}
		k.change(b)
		out.WriteString(hex.EncodeToString(b))
		out.WriteByte('\n')
	}
	return out.String(), nil
}
