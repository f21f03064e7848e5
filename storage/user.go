package storage

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"gatehouse/storage/record"
)

// UserID is the random internal name of a user.
type UserID = record.UserID

// UserState says whether a user's tokens and sessions count.
type UserState = record.UserState

// The states of a user.
const (
	UserActive    = record.UserActive
	UserDisabled  = record.UserDisabled  // by an administrator
	UserSuspended = record.UserSuspended // by the directory
	UserRemoved   = record.UserRemoved
)

// SourceLocal is the source of users whose password Gatehouse keeps.
const SourceLocal = "local"

// User is a person or a program that holds tokens.
type User struct {
	ID      UserID    `json:"-"`
	State   UserState `json:"-"`
	Epoch   uint32    `json:"-"` // sessions of another epoch are over
	UID     string    `json:"-"`
	Name    string    `json:"name,omitempty"`
	Source  string    `json:"source"`
	Created int64     `json:"created"`           // ms
	StateAt int64     `json:"stateAt,omitempty"` // ms; when it came into its state; 0: not known, or it was never in another

	Identities []Identity `json:"identities,omitempty"` // in the order in which they came
	Fixed      bool       `json:"fixed,omitempty"`      // the uid follows no identity: an administrator chose it, or took away the one that made the user
	LastLogin  int64      `json:"lastLogin,omitempty"`  // ms; of those by an identity

	Password []byte `json:"password,omitempty"` // an argon2id hash, sealed
}

// record is the head of fixed form, which is all that a start reads, and the rest as
// JSON.
func (u User) record() ([]byte, error) {
	rest, err := json.Marshal(u)
	return append(record.Owner{ID: u.ID, Epoch: u.Epoch, State: u.State, UID: u.UID}.AppendHead(nil), rest...), err
}

func parseUser(id UserID, b []byte) (User, error) {
	o, rest, err := record.ParseOwner(id, b)
	if err != nil {
		return User{}, err
	}
	u := User{ID: id, State: o.State, Epoch: o.Epoch, UID: o.UID}
	if err := json.Unmarshal(rest, &u); err != nil {
		return u, fmt.Errorf("%w: user %016x: %w", ErrDamaged, id, err)
	}
	return u, nil
}

// Fold maps all spellings of a uid to one: compatibility forms (fullwidth
// letters, ligatures) and case.
func Fold(uid string) string {
	if !strings.ContainsFunc(uid, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return strings.ToLower(uid)
	}
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(uid)))
}

// CheckUID returns an *InvalidError unless s can name a user: an e-mail
// address, of at most 254 bytes (RFC 5321, section 4.5.3.1.3).
func CheckUID(s string) error {
	at := strings.LastIndexByte(s, '@')
	if len(s) > 254 || at < 1 || at == len(s)-1 || !localPart(s[:at]) || !plain(s) || strings.ContainsFunc(s, unicode.IsSpace) {
		return invalidf("a user is named by an e-mail address, such as alice@example.com")
	}
	return nil
}

// localPart reports whether the part before the last @ of an address may stand
// there: an @ in it must be quoted (RFC 5321, section 4.1.2).
func localPart(s string) bool {
	quoted := len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"'
	return quoted || !strings.Contains(s, "@")
}

// plain reports whether s is text that can be shown on one line as it is.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	})
}

// become brings a user into a state. Its time is later than that of the state before,
// whatever the clock says: a restore goes by which came last.
func (u *User) become(state UserState, now int64) {
	u.State, u.StateAt = state, max(now, u.StateAt+1)
}

func userKey(id UserID) []byte     { return key('u', id.Bytes()) }
func nameKey(folded string) []byte { return key('n', []byte(folded)) }

// Local reports whether Gatehouse keeps the user's password.
func (u User) Local() bool { return u.Source == SourceLocal }

// User returns the user of that name, however its case, or ErrNoUser.
func (s *Store) User(uid string) (User, error) {
	var u User
	err := s.view(func(txn *badger.Txn) (err error) {
		u, err = s.userByName(txn, uid)
		return err
	})
	return u, err
}

// UserByID returns a user, also a removed one.
func (s *Store) UserByID(id UserID) (User, error) {
	var u User
	err := s.view(func(txn *badger.Txn) (err error) {
		u, err = s.userByID(txn, id)
		return err
	})
	return u, err
}

func (s *Store) userByID(txn *badger.Txn, id UserID) (User, error) {
	b, ok, err := s.get(txn, userKey(id))
	if err != nil {
		return User{}, err
	}
	if !ok {
		if _, _, held := s.table.Owners.Find(id); held {
			return User{}, fmt.Errorf("%w: user %016x has no record", ErrDamaged, id)
		}
		return User{}, ErrNoUser
	}
	return parseUser(id, b)
}

func (s *Store) userByName(txn *badger.Txn, uid string) (User, error) {
	folded := Fold(uid)
	b, ok, err := s.read(txn, nameKey(folded))
	if err != nil {
		return User{}, err
	}
	if !ok || len(b) != 8 {
		return User{}, ErrNoUser
	}
	u, err := s.userByID(txn, record.DecodeUserID(b))
	if err == nil && (u.State == UserRemoved || Fold(u.UID) != folded) {
		return User{}, ErrNoUser // a hint that leads astray
	}
	return u, err
}

// save puts a user's record, and makes its state count once it is durable.
func (t *tx) save(u User) error {
	b, err := u.record()
	if err != nil {
		return err
	}
	t.put(userKey(u.ID), b)
	t.writer.saved[u.ID] = true
	t.durable(func() {
		t.people.note(t.table.Owners.Set(record.Owner{ID: u.ID, Epoch: u.Epoch, State: u.State, UID: u.UID}), u)
	})
	return nil
}

// active returns the uid of a user whose tokens count, or ErrNoUser. It reads
// the record only where what is resident may be behind.
func (t *tx) active(id UserID) (uid string, err error) {
	if o, _, ok := t.table.Owners.Find(id); ok && !t.writer.saved[id] {
		if o.State != UserActive {
			return "", ErrNoUser
		}
		return o.UID, nil
	}
	u, err := t.userByID(t.txn, id)
	if err == nil && u.State != UserActive {
		err = ErrNoUser
	}
	return u.UID, err
}

// AddUser makes a local user with a password. It returns ErrUserExists, or an
// *InvalidError for a uid or name of bad form.
func (s *Store) AddUser(by Actor, uid, name string, hash PasswordHash) (User, error) {
	name, err := cleanName(name)
	if err != nil {
		return User{}, err
	}
	if err := CheckUID(uid); err != nil {
		return User{}, err
	}
	u := User{UID: uid, Name: name, Source: SourceLocal}
	err = s.change(by, func(t *tx) error {
		t.event(Event{Action: ActionUserAdd, UID: uid})
		if err := t.add(&u); err != nil {
			return err
		}
		u.Password = s.passwords.Seal(uint64(u.ID), hash)
		return t.save(u)
	})
	return u, err
}

// add gives a new user its id, and its name if that is free.
func (t *tx) add(u *User) error {
	switch _, err := t.userByName(t.txn, u.UID); err {
	case nil:
		return ErrUserExists
	case ErrNoUser:
	default:
		return err
	}
	for taken := true; taken; {
		var b [8]byte
		rand.Read(b[:])
		u.ID = record.DecodeUserID(b[:])
		var err error
		if _, taken, err = t.read(t.txn, userKey(u.ID)); err != nil {
			return err
		}
	}
	u.Created = t.now
	t.hint(nameKey(Fold(u.UID)), u.ID.Bytes())
	return nil
}

// edit changes a user's record.
func (t *tx) edit(uid, action string, fn func(u *User) error) error {
	u, err := t.userByName(t.txn, uid)
	if err != nil {
		return err
	}
	t.event(Event{Action: action, UID: u.UID, Owner: u.ID})
	if err := fn(&u); err != nil {
		return err
	}
	return t.save(u)
}

// SetPassword replaces the password of a local user and ends its sessions.
func (s *Store) SetPassword(by Actor, uid string, hash PasswordHash) error {
	return s.change(by, func(t *tx) error {
		return t.edit(uid, ActionUserPassword, func(u *User) error {
			if !u.Local() {
				return ErrNotLocal
			}
			u.Password = s.passwords.Seal(uint64(u.ID), hash)
			u.Epoch++
			return nil
		})
	})
}

// DisableUser stops every token and ends every session of a user at once.
func (s *Store) DisableUser(by Actor, uid string) error {
	return s.takeAway(by, func(t *tx) error {
		return t.edit(uid, ActionUserDisable, func(u *User) error {
			u.become(UserDisabled, t.now)
			u.Epoch++
			return nil
		})
	})
}

// EnableUser lets a disabled user's tokens count again.
func (s *Store) EnableUser(by Actor, uid string) error {
	return s.change(by, func(t *tx) error {
		return t.edit(uid, ActionUserEnable, func(u *User) error {
			u.become(UserActive, t.now)
			return nil
		})
	})
}

// UnlockUser notes that a user's login delay is lifted, and returns the user. The
// delay is the server's.
func (s *Store) UnlockUser(by Actor, uid string) (u User, err error) {
	err = s.change(by, func(t *tx) error {
		u, err = t.userByName(t.txn, uid)
		if err != nil {
			return err
		}
		t.event(Event{Action: ActionUserUnlock, UID: u.UID, Owner: u.ID})
		return nil
	})
	return u, err
}

// RemoveUser removes a user and revokes its tokens for good: they are those of
// a removed user, which no one can become again.
func (s *Store) RemoveUser(by Actor, uid string) error {
	return s.takeAway(by, func(t *tx) error {
		u, err := t.userByName(t.txn, uid)
		if err != nil {
			return err
		}
		return t.remove(u, "")
	})
}

func (t *tx) remove(u User, why string) error {
	t.event(Event{Action: ActionUserRemove, UID: u.UID, Owner: u.ID, Detail: why})
	t.delete(nameKey(Fold(u.UID)))
	for _, id := range u.Identities {
		t.delete(id.key())
	}
	u.become(UserRemoved, t.now)
	u.Epoch++
	u.Password = nil
	var held []ID
	for item := range scan(t.txn, key('o', u.ID.Bytes(), []byte{0}), nil) {
		_, id := ownedToken(item.Key())
		held = append(held, id)
	}
	t.durable(func() { t.drop(held...) })
	return t.save(u)
}
