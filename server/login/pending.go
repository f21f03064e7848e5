package login

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"gatehouse/server/oauth"
	"gatehouse/server/reply"
)

// pending are the logins by browser that have begun and not yet come back. Each may come
// back once, in the browser and from the provider that it began with.
//
// All that is known about a login is sealed into a cookie of the browser that began it.
// The server keeps only one bit for each login: whether it has come back. So there is no
// table that somebody could fill to keep others out, not even from many networks: a
// million logins that begin and never come back take some kilobytes.
//
// The key is this process's own: a restart ends all logins that are under way.
type pending struct {
	now  func() time.Time
	aead cipher.AEAD

	mu     sync.Mutex
	next   uint64         // the number of the next login
	first  uint64         // the number of the first block
	blocks []pendingBlock // of the last PendingLife
}

// pendingBlock has the bits of blockLogins logins.
type pendingBlock struct {
	last time.Time // when the last of them began
	back *[blockLogins / 64]uint64
}

// pendingLogin is what the cookie holds.
type pendingLogin struct {
	oauth.Login
	Provider string
	Next     string
	Expires  int64 // ms
	Number   uint64
}

const (
	PendingLife = 10 * time.Minute
	blockLogins = 4096
)

func newPending(now func() time.Time) (*pending, error) {
	var key [32]byte
	rand.Read(key[:])
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &pending{now: now, aead: aead}, err
}

// begin returns the cookie of a login that begins now.
func (p *pending) begin(l pendingLogin) (cookie string, err error) {
	now := p.now()
	l.Expires = now.Add(PendingLife).UnixMilli()
	p.mu.Lock()
	for len(p.blocks) > 0 && now.Sub(p.blocks[0].last) >= PendingLife {
		p.blocks = p.blocks[1:]
		p.first++
	}
	p.next = max(p.next, p.first*blockLogins) // the block of the one before may be gone
	if p.next/blockLogins == p.first+uint64(len(p.blocks)) {
		p.blocks = append(p.blocks, pendingBlock{})
	}
	p.blocks[len(p.blocks)-1].last = now
	l.Number = p.next
	p.next++
	p.mu.Unlock()
	text, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(p.aead.Seal(nil, nil, text, nil)), nil
}

// The errors of finish tell a person what to do, and nothing about the login.
var (
	errNoPending    = reply.Refuse(http.StatusBadRequest, "This login is over, has taken longer than 10 minutes, or was begun in another browser: begin it again")
	errOtherPending = reply.Refuse(http.StatusBadRequest, "This login was begun in another window, or for another provider: begin it again")
)

// finish returns the login in a browser's cookie, if a provider sends back the state of
// that login. It does so only once.
func (p *pending) finish(cookie, provider, state string) (l pendingLogin, err error) {
	sealed, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		return l, errNoPending
	}
	text, err := p.aead.Open(nil, nil, sealed, nil)
	if err != nil || json.Unmarshal(text, &l) != nil {
		return l, errNoPending
	}
	if subtle.ConstantTimeCompare([]byte(l.State), []byte(state)) != 1 {
		return l, errOtherPending
	}
	switch {
	case !p.spend(l.Number), p.now().UnixMilli() >= l.Expires:
		return l, errNoPending
	case l.Provider != provider:
		return l, errOtherPending
	}
	return l, nil
}

// spend reports whether a login comes back for the first time.
func (p *pending) spend(number uint64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	block, n := number/blockLogins, number%blockLogins
	if block < p.first || block-p.first >= uint64(len(p.blocks)) {
		return false
	}
	b := &p.blocks[block-p.first]
	if b.back == nil {
		b.back = new([blockLogins / 64]uint64)
	}
	bit := uint64(1) << (n % 64)
	if b.back[n/64]&bit != 0 {
		return false
	}
	b.back[n/64] |= bit
	return true
}
