package guard

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"gatehouse/server/reply"
	"gatehouse/storage"
)

// maxPassword is the length of the longest password, in bytes.
const maxPassword = 256

// HashParams are OWASP's for argon2id: 19 MiB, two passes, one lane.
var HashParams = argon2id.Params{Memory: 19 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}

// Hasher hashes passwords. It bounds how many are hashed at once, since each takes
// 19 MiB, and how many logins wait for that.
type Hasher struct {
	params argon2id.Params
	slots  chan struct{} // a place to work
	queue  chan struct{} // a place to wait or work
	dummy  string        // what unknown users' passwords are compared with
}

const maxWait = 30 * time.Second

// NewHasher returns a hasher that hashes places passwords at once, and lets queue logins
// wait or work.
func NewHasher(p argon2id.Params, places, queue int) *Hasher {
	return &Hasher{
		params: p,
		slots:  make(chan struct{}, places),
		queue:  make(chan struct{}, queue),
		dummy:  dummyHash(p),
	}
}

// dummyHash is random text in the form of a hash: no password matches it, and finding
// that out takes as long as for a real one.
func dummyHash(p argon2id.Params) string {
	random := func(n uint32) string {
		b := make([]byte, n)
		rand.Read(b)
		return base64.RawStdEncoding.EncodeToString(b)
	}
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s",
		argon2.Version, p.Memory, p.Iterations, p.Parallelism, random(p.SaltLength), random(p.KeyLength))
}

// Enter waits for a place to work, and returns a refusal (503) if too many wait already.
// The caller must call leave.
func (h *Hasher) Enter(ctx context.Context) (leave func(), err error) {
	busy := &reply.Error{Status: http.StatusServiceUnavailable, Message: "Too many logins at once: try again later", Retry: time.Second}
	select {
	case h.queue <- struct{}{}:
	default:
		return nil, busy
	}
	timer := time.NewTimer(maxWait)
	defer timer.Stop()
	select {
	case h.slots <- struct{}{}:
		return h.leave, nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-timer.C:
		err = busy
	}
	<-h.queue
	return nil, err
}

// leave collects the memory of the hash before the place is free again. By
// itself, the collector lets as much pile up as is in use: with four places,
// 150 MiB more. Less than a MiB, as in tests, is not worth it.
func (h *Hasher) leave() {
	if h.params.Memory >= 1<<10 {
		runtime.GC()
	}
	<-h.slots
	<-h.queue
}

// prepare returns the one form of a password that is hashed, however it was typed: a
// letter with an accent is one character on one keyboard and two on another, and a blank
// of another width is a blank. It is the profile OpaqueString of RFC 8265, section 4.2,
// except that it refuses nothing: passwords that were set before go on working, and emoji
// and control characters, which the profile forbids, are no worse as passwords. A
// byte-order mark at the beginning comes from a file that curl sent.
func prepare(password string) string {
	if !utf8.ValidString(password) {
		return password // nobody has such a password, and strings.Map would turn it into one
	}
	blanks := func(r rune) rune {
		if unicode.Is(unicode.Zs, r) {
			return ' '
		}
		return r
	}
	return norm.NFC.String(strings.Map(blanks, strings.TrimPrefix(password, "\ufeff")))
}

// Matches compares a password with a hash. Without a hash (an unknown user) it takes
// as long. The caller must have entered.
//
// Passwords used to be hashed as they were typed, and those go on working: one that
// prepare changes is compared in both forms. How long that takes depends only on what was
// typed, and not on the user or on which of the two is right.
func (h *Hasher) Matches(password string, hash storage.PasswordHash) (bool, error) {
	prepared := prepare(password)
	ok, err := h.compare(prepared, hash)
	if err != nil || prepared == password {
		return ok, err
	}
	typed, err := h.compare(password, hash)
	return ok || typed, err
}

// compare compares one form of a password.
func (h *Hasher) compare(password string, hash storage.PasswordHash) (bool, error) {
	known := hash != "" && len(password) <= maxPassword
	text := string(hash)
	if !known {
		text = h.dummy
	}
	if len(password) > maxPassword {
		password = password[:maxPassword]
	}
	ok, err := argon2id.ComparePasswordAndHash(password, text)
	return ok && known, err
}

// Hash hashes a new password.
func (h *Hasher) Hash(ctx context.Context, password string) (storage.PasswordHash, error) {
	if !utf8.ValidString(password) {
		return "", reply.Refuse(http.StatusBadRequest, "The password is not UTF-8")
	}
	prepared := prepare(password)
	if prepared == "" || len(password) > maxPassword || len(prepared) > maxPassword {
		return "", reply.Refuse(http.StatusBadRequest, "A password must have 1 to %d bytes", maxPassword)
	}
	leave, err := h.Enter(ctx)
	if err != nil {
		return "", err
	}
	defer leave()
	text, err := argon2id.CreateHash(prepared, &h.params)
	return storage.PasswordHash(text), err
}
