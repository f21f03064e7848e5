package storage

import (
	"errors"

	"gatehouse/storage/disk"
	"gatehouse/storage/unlogged"
	"gatehouse/storage/verify"
)

// The errors of the store. The server shows some of these messages to clients,
// so they are sentences. It never shows the wrapped error of a damaged or
// failing store.
var (
	ErrNoUser     = errors.New("no such user")
	ErrNoToken    = errors.New("no such token")
	ErrNoIdentity = errors.New("the user has no such identity")
	ErrNoSession  = unlogged.ErrNoSession
	ErrAmbiguous  = errors.New("more than one token has an id that begins so")
	ErrUserExists = errors.New("a user of that name exists already")
	//lint:ignore ST1005 users are shown it as it is
	ErrOtherAccount = errors.New("This address belongs to another account")
	//lint:ignore ST1005 users are shown it as it is
	ErrNoAddress = errors.New("There is no e-mail address for this account: ask an administrator")
	ErrLinked    = errors.New("the identity is another user's, who must be unlinked from it first")
	ErrNotLocal  = errors.New("the user has no password here: it logs in elsewhere")
	ErrTooMany   = errors.New("the user holds as many tokens as are allowed: revoke one first")
	ErrWornOut   = errors.New("the token was rotated 255 times: make a new one")
	ErrRefused   = verify.ErrRefused

	// ErrOpening says that the store is still opening and can only verify
	// tokens.
	ErrOpening = errors.New("the store is being opened")
)

// The kinds of errors that a disk causes: see package disk.
var (
	ErrDamaged     = disk.ErrDamaged
	ErrFailed      = disk.ErrFailed
	ErrUnavailable = disk.ErrUnavailable
	ErrNoSpace     = disk.ErrNoSpace
	ErrNoDirectory = disk.ErrNoDirectory
	ErrClosed      = disk.ErrClosed
)
