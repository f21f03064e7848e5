// Package grants stores what is needed to ask OAuth providers about people again: a
// refresh token or, if the provider has none, the access token of the last login by
// browser. It also stores what the provider answered.
//
// Each identity has a file of its own. Most providers accept a refresh token only once, so
// an old copy is worse than no copy: using it again looks like theft, and the provider then
// ends the new token as well. So grants are not in the journal and not in backups. A new one
// replaces the old one on the disk before [Grants.Update] returns, and nothing keeps the
// old one.
//
// The files are sealed with a key of the keyring, and bound to their identity. Their
// names reveal nothing: each is an HMAC of the identity. The package never asks a
// provider, and decides nothing about users.
package grants

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"gatehouse/storage/disk"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// Grant is what is known of an identity at a provider. Times are in ms; 0: never.
type Grant struct {
	Identity record.Identity `json:"identity"`
	Client   string          `json:"client"`  // whom the tokens were issued to
	Version  uint64          `json:"version"` // changes at each login that brings tokens

	Refresh string `json:"refresh,omitempty"`
	Access  string `json:"access,omitempty"`

	Asked    int64  `json:"asked,omitempty"`
	Answered int64  `json:"answered,omitempty"` // when the provider last answered about the person, also at a login
	Sent     bool   `json:"sent,omitempty"`     // the token may be spent: it was sent, and no answer has been stored
	Left     string `json:"left,omitempty"`     // why the provider says that the person may not log in
	Since    int64  `json:"since,omitempty"`    // when the doubt began: since then there is nothing to ask with
	Doubt    string `json:"doubt,omitempty"`    // why
}

// Usable reports whether there is something to ask with.
func (g Grant) Usable() bool { return g.Refresh != "" || g.Access != "" }

// String hides the tokens.
func (g Grant) String() string {
	return fmt.Sprintf("grant of %s %s", g.Identity.Source, g.Identity.Subject)
}

// GoString hides the tokens.
func (g Grant) GoString() string { return g.String() }

// Grants are the grants of an installation.
type Grants struct {
	dir  string
	name [32]byte // of the key that names files
	aead cipher.AEAD
	mu   sync.Mutex // held while a grant is changed

	// doubted has the clients of the grants with a doubt. It is nil until all were read.
	doubted map[record.Identity]string

	// Fault, unless it is nil, is called before a grant is written, and its error is
	// returned instead: for tests.
	Fault func(Grant) error
}

// New returns the grants in a directory, which is made when the first one is written.
func New(dir string, ring keys.Ring) (*Grants, error) {
	key := ring.Derive("grants")
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Grants{dir: dir, name: ring.Derive("grant names"), aead: aead}, err
}

// file returns the file of an identity.
func (s *Grants) file(id record.Identity) string {
	h := hmac.New(sha256.New, s.name[:])
	h.Write(id.Key())
	return filepath.Join(s.dir, hex.EncodeToString(h.Sum(nil)[:16]))
}

// Get returns the grant of an identity; ok is false if there is none. A file that can't
// be opened counts as missing: it is damaged, or was sealed with a keyring that is gone.
func (s *Grants) Get(id record.Identity) (g Grant, ok bool, err error) {
	g, err = s.read(s.file(id))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, disk.ErrDamaged) {
		return Grant{}, false, nil
	}
	return g, err == nil && g.Identity == id, err
}

func (s *Grants) read(file string) (g Grant, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return g, err
	}
	plain, err := s.aead.Open(nil, nil, b, []byte(filepath.Base(file)))
	if err == nil {
		err = json.Unmarshal(plain, &g)
	}
	if err != nil {
		return Grant{}, fmt.Errorf("%w: %s does not open", disk.ErrDamaged, file)
	}
	return g, nil
}

// ErrNewer means that a login has replaced the grant.
var ErrNewer = errors.New("the person has logged in since")

// Update changes a grant that still has this version, and returns it once it is on the
// disk. It returns ErrNewer if the grant now has another version or is gone.
func (s *Grants) Update(id record.Identity, version uint64, fn func(*Grant)) (Grant, error) {
	return s.change(id, func(g *Grant, there bool) error {
		if !there || g.Version != version {
			return ErrNewer
		}
		fn(g)
		return nil
	})
}

// Renew changes the grant of an identity because of a login. If there is no grant, it
// makes one. If fn replaces the tokens it must set the new version.
func (s *Grants) Renew(id record.Identity, fn func(g *Grant, version uint64)) (Grant, error) {
	return s.change(id, func(g *Grant, _ bool) error {
		var b [8]byte
		rand.Read(b[:])
		g.Identity = id
		fn(g, binary.BigEndian.Uint64(b[:]))
		return nil
	})
}

func (s *Grants) change(id record.Identity, fn func(g *Grant, there bool) error) (Grant, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g, there, err := s.Get(id)
	if err != nil {
		return g, err
	}
	if err := fn(&g, there); err != nil {
		return g, err
	}
	err = s.write(g)
	kept := g
	if err != nil { // it may be written all the same
		var bad error
		if kept, there, bad = s.Get(id); bad != nil {
			s.doubted = nil
		} else if !there {
			kept = Grant{Identity: id}
		}
	}
	if s.doubted != nil {
		s.note(kept)
	}
	return g, err
}

// note records whether there is a doubt.
func (s *Grants) note(g Grant) {
	delete(s.doubted, g.Identity)
	if g.Doubt != "" {
		s.doubted[g.Identity] = g.Client
	}
}

// Doubted returns the identities of the grants with a doubt, and whom their tokens were
// issued to. Unless [Grants.Prune] was called before, the first call reads each grant.
func (s *Grants) Doubted() (map[record.Identity]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.doubted == nil {
		s.doubted = map[record.Identity]string{}
		if err := s.All(s.note); err != nil {
			s.doubted = nil
			return nil, err
		}
	}
	return maps.Clone(s.doubted), nil
}

func (s *Grants) write(g Grant) error {
	if s.Fault != nil {
		if err := s.Fault(g); err != nil {
			return err
		}
	}
	b, err := json.Marshal(g)
	if err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o700); err == nil {
		err = disk.SyncDir(filepath.Dir(s.dir))
		if err != nil {
			return disk.NotWritten("keep a grant", err)
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return disk.NotWritten("keep a grant", err)
	}
	file := s.file(g.Identity)
	if err := disk.WriteFile(file, s.aead.Seal(nil, nil, b, []byte(filepath.Base(file)))); err != nil {
		return disk.NotWritten("keep a grant", err)
	}
	return nil
}

// All calls fn with each grant.
func (s *Grants) All(fn func(Grant)) error {
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		switch g, err := s.read(filepath.Join(s.dir, e.Name())); {
		case err == nil:
			fn(g)
		case !errors.Is(err, disk.ErrDamaged) && !errors.Is(err, fs.ErrNotExist): // dropped since
			return err
		}
	}
	return err
}

// Prune deletes the grants for which keep is false, and the files that can't be opened. It
// does not count the files that a kill has left of a write.
func (s *Grants) Prune(keep func(Grant) bool) (dropped int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s.doubted = map[record.Identity]string{}
	whole := true
	for _, e := range list {
		file := filepath.Join(s.dir, e.Name())
		g, err := s.read(file)
		if err == nil && keep(g) {
			s.note(g)
			continue
		}
		if err != nil && !errors.Is(err, disk.ErrDamaged) {
			whole = false
			continue
		}
		if err := disk.RemoveIfThere(file); err != nil {
			s.doubted = nil
			return dropped, err
		}
		if !strings.HasPrefix(e.Name(), ".") {
			dropped++
		}
	}
	if !whole {
		s.doubted = nil
	}
	return dropped, disk.SyncDir(s.dir)
}
