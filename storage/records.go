package storage

import (
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

	InvalidError = record.InvalidError
)

// The states of a user.
const (
	UserActive    = record.UserActive
	UserDisabled  = record.UserDisabled  // by an administrator
	UserSuspended = record.UserSuspended // by the directory
	UserRemoved   = record.UserRemoved
)

// Where users come from: see package record.
const (
	SourceLocal = record.SourceLocal
	SourceLDAP  = record.SourceLDAP
)

// MaxOverlap is the longest time for which two secrets of a token may both be
// valid.
const MaxOverlap = record.MaxOverlap

// ParseID parses the output of ID.String.
func ParseID(s string) (ID, error) { return keys.ParseID(s) }
