package storage

import (
	"errors"

	"gatehouse/storage/disk"
	"gatehouse/storage/read"
	"gatehouse/storage/unlogged"
	"gatehouse/storage/verify"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// The types that the store keeps, from packages keys and record.
type (
	ID           = keys.ID
	Secret       = keys.Secret
	PasswordHash = keys.PasswordHash

	User      = record.User
	UserID    = record.UserID
	UserState = record.UserState
	Identity  = record.Identity
	Token     = record.Token
	Session   = record.Session
	File      = record.File
	Event     = record.Event
	Actor     = record.Actor

	InvalidError = record.InvalidError
)

// The states of a user.
const (
	UserActive    = record.UserActive
	UserDisabled  = record.UserDisabled  // by an administrator
	UserSuspended = record.UserSuspended // by a directory or a provider
	UserRemoved   = record.UserRemoved
)

// Where users come from: see package record.
const (
	SourceLocal = record.SourceLocal
	SourceLDAP  = record.SourceLDAP

	SourceService = record.SourceService
)

// MaxOverlap is the longest time for which two secrets of a token may both be
// valid.
const MaxOverlap = record.MaxOverlap

// ParseID parses the output of ID.String.
func ParseID(s string) (ID, error) { return keys.ParseID(s) }

// The errors of the store. The server shows some of these messages to clients,
// so they are sentences. It never shows the wrapped error of a damaged or
// failing store.
var (
	ErrNoUser     = read.ErrNoUser
	ErrNoToken    = read.ErrNoToken
	ErrNoIdentity = errors.New("the user has no such identity")
	ErrNoSession  = unlogged.ErrNoSession
	ErrAmbiguous  = errors.New("more than one token has an id that begins like that: type more of it")
	ErrUserExists = errors.New("a user with this name already exists")
	//lint:ignore ST1005 users are shown it as it is
	ErrOtherAccount = errors.New("This address belongs to another account")
	//lint:ignore ST1005 users are shown it as it is
	ErrNoAddress = errors.New("There is no e-mail address for this account: ask an administrator")
	ErrLinked    = errors.New("the identity belongs to another user: unlink it there first")
	ErrNotLocal  = errors.New("the user has no password here: change it in the directory or at the provider")
	ErrNoService = errors.New("no such service account")
	ErrService   = errors.New("a service account has no password and no login, and keeps its name")
	ErrTooMany   = errors.New("the user has as many tokens as are allowed: revoke one first")
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
	// ErrUnsaved is the error of Close if last uses or failed logins, which are not in the
	// journal, could not be written.
	ErrUnsaved = errors.New("not all last uses were written")
)
