// Package keys owns every secret of an installation: the key file, the keyring that is
// sealed with it, the tokens that are derived from the keyring, the seals of records and
// the sealing of password hashes.
//
//	key file ──opens──> keyring ┬─ token keys, by number ──> tokens
//	                            └─ root ──> a key for each purpose: records, passwords, ...
//
// It never stores a token, and does not know which tokens exist: it can tell that one of
// the keys made a token, but not whether that token is still valid. It knows no user, no
// record and no store, and it writes only the two files that contain keys.
package keys

import (
	"errors"
)

// What can be wrong with a key file. A keyring that can't be read gives
// [disk.ErrDamaged].
var (
	ErrMissing = errors.New("key missing")
	ErrExposed = errors.New("key exposed")
	ErrWrong   = errors.New("wrong key")
)
