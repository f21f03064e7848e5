package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// The exit statuses of every command.
const (
	statusDone        = 0
	statusFailed      = 1
	statusUsage       = 2
	statusUnknown     = 3 // no such user or token
	statusForbidden   = 4
	statusUnreachable = 5 // no server where one is needed
)

// UsageError says that the command line itself is wrong.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return usagef(format, args...) }

func usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// FlagError makes a UsageError of cobra's complaint about a flag. It fits
// cobra's SetFlagErrorFunc; main sets it on the root too.
func FlagError(c *cobra.Command, err error) error {
	return usagef("%w; see %s --help", err, c.CommandPath())
}

// fieldFlags are the flags whose values the server alone can read, by the name
// of the field at the head of its refusal.
var fieldFlags = map[string]string{"Idle": "--idle", "ExpiresIn": "--expires"}

// flagged makes a UsageError of the server's refusal of a flag's value.
func flagged(err error) error {
	refusal := (*api.Error)(nil)
	if !errors.As(err, &refusal) || refusal.Status != http.StatusBadRequest {
		return err
	}
	field, why, _ := strings.Cut(refusal.Message, ": ")
	if flag, ok := fieldFlags[field]; ok {
		return usagef("%s: %s", flag, why)
	}
	return err
}

// ExitStatus maps the error of a command to the exit status of the process.
func ExitStatus(err error) int {
	var (
		usage       UsageError
		refusal     *api.Error
		unreachable *api.UnreachableError
	)
	switch {
	case err == nil:
		return statusDone
	case errors.As(err, &usage):
		return statusUsage
	case errors.As(err, &refusal) && refusal.Status == http.StatusNotFound:
		return statusUnknown
	case errors.As(err, &refusal) && refusal.Status == http.StatusForbidden,
		errors.Is(err, fs.ErrPermission): // a socket or a store that is somebody else's
		return statusForbidden
	case errors.As(err, &unreachable):
		return statusUnreachable
	}
	return statusFailed
}

// Report writes the error, if any, as one safe line and returns ExitStatus.
func Report(w io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(w, "gatehouse: %s\n", text.Escape(err.Error()))
	}
	return ExitStatus(err)
}
