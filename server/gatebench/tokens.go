package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/netip"
	"strings"

	"gatehouse/storage"
)

// sample contains random live tokens, the number of tokens that they come from, and how
// often they had been used before.
type sample struct {
	ids     []storage.ID
	secrets []storage.Secret
	of      int
	uses    int64
}

// open opens the store, which must not be in use, and closes it again.
func (b *bench) open(do func(*storage.Store) error) error {
	store, err := storage.Open(b.data, storage.Options{Holder: "gatebench"})
	if err != nil {
		return err
	}
	<-store.Loaded() // so that it is left as after a clean stop
	<-store.Counted()
	return errors.Join(do(store), store.Close())
}

// firstKey is the number that a new store's ids begin with.
const firstKey = "01"

// draw takes all tokens with ids that begin in one way, and then in another, until there
// are enough: ids are random, and to read all of ten million takes many minutes.
func (b *bench) draw(ctx context.Context) (s sample, err error) {
	err = b.open(func(store *storage.Store) error {
		s.of = store.TokenCount()
		digits := 2
		if s.of > 100_000 {
			digits = 4
		}
		for _, n := range rand.Perm(1 << (4 * digits)) {
			if len(s.ids) == b.tokens {
				break
			}
			err := b.take(ctx, store, &s, fmt.Sprintf("%s%0*x", firstKey, digits, n))
			if err != nil {
				return err
			}
		}
		if len(s.ids) == 0 {
			return errors.New("the store has no live token without limits: make some with gatehouse demo --no-serve")
		}
		return nil
	})
	return s, err
}

// acquaint uses each token once from the address that wrk asks from. The first use in a new
// network is an event in the audit log, and perhaps a notice: that would be measured, too.
func (b *bench) acquaint(ctx context.Context, s *sample) error {
	err := b.open(func(store *storage.Store) error {
		here := storage.Origin{Address: netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		for _, secret := range s.secrets {
			if _, err := store.Authenticate(secret.Reveal(), here); err != nil {
				return err
			}
			s.uses++
		}
		return nil
	})
	if err != nil {
		return err
	}
	return b.open(func(store *storage.Store) error {
		for sightings := store.Notices().Sightings; ; {
			list, err := sightings.Waiting(1000)
			if err := cmp.Or(err, ctx.Err()); err != nil || len(list) == 0 {
				return err
			}
			if err := sightings.Seen(list); err != nil {
				return err
			}
		}
	})
}

// take draws the tokens with a prefix, except those with limits, because the gate must
// look those up.
func (b *bench) take(ctx context.Context, store *storage.Store, s *sample, prefix string) error {
	for t, err := range store.Tokens(storage.TokenFilter{Prefix: prefix}) {
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return err
		}
		if t.Revoked != 0 || t.OwnerState != storage.UserActive || t.Limited() {
			continue
		}
		if len(s.ids) == b.tokens {
			return nil
		}
		s.ids, s.secrets = append(s.ids, t.ID), append(s.secrets, store.Reveal(t))
		s.uses += t.Usage.Uses
	}
	return nil
}

// uses is how often the tokens have been used.
func (b *bench) uses(ctx context.Context, ids []storage.ID) (n int64, err error) {
	err = b.open(func(store *storage.Store) error {
		for _, id := range ids {
			t, err := store.Token(id)
			if err := cmp.Or(err, ctx.Err()); err != nil {
				return err
			}
			n += t.Usage.Uses
		}
		return nil
	})
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

// tokenHeader begins a header line with a token.
const tokenHeader = "X-Auth-Token: "

// lines are the tokens as that kind, each in a header line.
func (k kind) lines(secrets []storage.Secret) (string, error) {
	var out strings.Builder
	for _, s := range secrets {
		b, err := hex.DecodeString(s.Reveal())
		if err != nil {
			return "", err
		}
		k.change(b)
		out.WriteString(tokenHeader + hex.EncodeToString(b))
		out.WriteByte('\n')
	}
	return out.String(), nil
}
