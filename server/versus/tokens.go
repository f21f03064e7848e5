package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"

	"gatehouse/storage"
)

// sample are the secrets of random live tokens, and of how many they are.
type sample struct {
	secrets []storage.Secret
	of      int
}

// draw opens the store, which must not be in use, and closes it again. Only
// tokens without limits are taken, for the others must be looked up.
func (v *versus) draw() (s sample, err error) {
	store, err := storage.Open(v.data, storage.Options{Holder: "versus"})
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	<-store.Loaded() // the server begins as it does after a clean stop
	var drawn []storage.Token
	for t, err := range store.Tokens(storage.TokenFilter{}) {
		if err != nil {
			return s, err
		}
		if t.Revoked != 0 || t.OwnerState != storage.UserActive || t.Limited() {
			continue
		}
		// Each of those seen so far is among the drawn with the same chance.
		if s.of++; len(drawn) < v.tokens {
			drawn = append(drawn, t)
		} else if n := rand.IntN(s.of); n < v.tokens {
			drawn[n] = t
		}
	}
	if len(drawn) == 0 {
		return s, errors.New("the store has no live token without limits: make one with gatehouse demo --no-serve")
	}
	for _, t := range drawn {
		s.secrets = append(s.secrets, store.Reveal(t))
	}
	return s, nil
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
