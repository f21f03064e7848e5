// Package keys owns every secret of an installation: the key file, the keyring that is
// sealed with it, the tokens that are derived from the keyring, the seals of records and
// the sealing of password hashes.
//
//	key file ──opens──> keyring ┬─ token keys, by number ──> tokens
//	                            └─ root ──> a key for each purpose: records, passwords, ...
//
// It never stores a token, and it does not know which tokens exist: that a text is a
// token that one of the keys made says nothing about whether it is still good. It knows
// no user, no record and no store, and it writes no file except the two that contain keys.
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
