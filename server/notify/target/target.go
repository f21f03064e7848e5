// Package target brings notices to those who want them: a command on this host, a webhook,
// and mail. Each delivery has a time limit, and returns what the other side answered.
//
// The package never tries twice, keeps nothing, and decides nothing about what is sent: package
// notify does.
package target

import (
	"context"
	"errors"
)

// Message is a notice on its way.
type Message struct {
	ID            string // the same at each attempt
	JSON          []byte // for programs
	To            string // for mail: an address
	Subject, Text string // for mail
}

// Target takes messages. Deliver returns what the other side answered, for people to read.
type Target interface {
	Name() string
	// Deliver returns an error unless the other side has taken the message.
	Deliver(ctx context.Context, m Message) (answer string, err error)
	Close()
}

// The names of the targets.
const (
	NameCommand = "command"
	NameWebhook = "webhook"
	NameMail    = "mail"
)

// RefusedError means that the other side refused this message, but may take others. If
// Final is set, it will never take it.
type RefusedError struct {
	Err   error
	Final bool
}

func (e *RefusedError) Error() string { return e.Err.Error() }
func (e *RefusedError) Unwrap() error { return e.Err }

// Refused returns the refusal in an error, or nil.
func Refused(err error) *RefusedError {
	var r *RefusedError
	errors.As(err, &r)
	return r
}
