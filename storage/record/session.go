package record

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// Session is a browser's login. Its key has the SHA-256 of its cookie: the cookie
// itself is nowhere on the disk.
type Session struct {
	Owner   UserID `json:"owner"`
	UID     string `json:"-"` // the owner's
	Epoch   uint32 `json:"epoch"`
	Method  string `json:"method"` // the source that checked the login
	Created int64  `json:"created"`
	Seen    int64  `json:"seen"`
	Address string `json:"address,omitempty"` // where the login came from
	Agent   string `json:"agent,omitempty"`   // what the browser called itself then
}

// SessionKey returns the key of the session of a cookie.
func SessionKey(cookie string) []byte {
	sum := sha256.Sum256([]byte(cookie))
	return Key('s', sum[:])
}

// SessionsOf returns the prefix of the keys of the hints from a user to sessions, the
// latest first.
func SessionsOf(owner UserID) []byte { return Key('w', owner.Bytes()) }

// HintKey returns the hint from the owner to the session with the key k.
func (v Session) HintKey(k []byte) []byte {
	return append(binary.BigEndian.AppendUint64(SessionsOf(v.Owner), ^uint64(v.Created)), k[1:]...)
}

// SessionAt returns the key of the session to which a hint points.
func SessionAt(hint []byte) []byte { return Key('s', hint[1+8+8:]) }

// ParseSession reads a session's record, which is JSON.
func ParseSession(b []byte) (v Session, err error) {
	if err := json.Unmarshal(b, &v); err != nil {
		return Session{}, fmt.Errorf("read a session: %w", err)
	}
	return v, nil
}
