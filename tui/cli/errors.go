package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	statusFound       = 6 // scan found a token that works
)

// UsageError says that the command line itself is wrong.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }

func (e UsageError) Unwrap() error { return e.Err }

// Usagef returns a UsageError, formatted as fmt.Errorf does.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// errWholeToken rejects a token in place of an ID. It does not repeat it.
var errWholeToken = Usagef("this is a token, not an ID: the ID is its first 28 characters")

// leastID is how many characters of an ID name a token, if no other ID begins with them.
const leastID = 8

// checkID rejects what can't be an ID: a whole token, or too few of an ID's characters.
// Text with other characters is passed on; no token has it.
func checkID(id string) error {
	switch {
	case len(id) == tokenLen:
		return errWholeToken
	case id != "" && len(id) < leastID && strings.Trim(strings.ToLower(id), "0123456789abcdef") == "":
		return Usagef("%q is too short for an ID: give its first %d characters or more", id, leastID)
	}
	return nil
}

// flagError turns cobra's error about a flag into a UsageError.
func flagError(c *cobra.Command, err error) error {
	if value, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = badValue("--"+value.GetFlag().Name, value.GetValue(), err)
	}
	return Usagef("%w; see %s --help", err, c.CommandPath())
}

// badValue says what is wrong with the value of a flag or of its variable. The text of
// package strconv is for programmers.
func badValue(name, value string, err error) error {
	number := (*strconv.NumError)(nil)
	switch {
	case !errors.As(err, &number):
		return err
	case number.Func == "ParseBool":
		return fmt.Errorf("%s: %q is neither true nor false", name, value)
	case number.Err == strconv.ErrRange:
		return fmt.Errorf("%s: %s is too large a number", name, value)
	}
	return fmt.Errorf("%s: %q is not a number", name, value)
}

// fieldFlags are the flags with values that only the server parses, by the name of the
// field with which its refusal begins.
var fieldFlags = map[string]string{
	"expiresIn": "--expires", "overlap": "--overlap", "scopes": "--scope", "addresses": "--address",
	"retireTokensAfter": "--retire-tokens-after", "to": "--to",
}

// flagged turns the server's refusal of a flag's value into a UsageError that
// names the flag. It returns any other error as it is.
func flagged(err error) error {
	refusal, ok := errors.AsType[*api.Error](err)
	if !ok || refusal.Status != http.StatusBadRequest {
		return err
	}
	field, why, _ := strings.Cut(refusal.Message, ": ")
	if flag, ok := fieldFlags[field]; ok {
		return Usagef("%s: %s", flag, why)
	}
	if name := strings.ToLower(field); isFilter(name) {
		return Usagef("--%s: %s", name, why)
	}
	return err
}

// exitStatus maps the error of a command to the exit status of the process.
func exitStatus(err error) int {
	var (
		usage       UsageError
		refusal     *api.Error
		unreachable *api.UnreachableError
		found       *foundError
	)
	switch {
	case err == nil:
		return statusDone
	case errors.As(err, &usage),
		errors.As(err, &refusal) && refusal.Status == http.StatusBadRequest: // of a value on the command line
		return statusUsage
	case errors.As(err, &refusal) && refusal.Status == http.StatusNotFound:
		return statusUnknown
	case errors.As(err, &refusal) && refusal.Status == http.StatusForbidden,
		errors.Is(err, fs.ErrPermission): // somebody else's socket or store
		return statusForbidden
	case errors.As(err, &unreachable):
		return statusUnreachable
	case errors.As(err, &found):
		return statusFound
	}
	return statusFailed
}

// Report writes the error, if any, as one safe line and returns exitStatus.
func Report(w io.Writer, err error) int {
	if err != nil {
		fmt.Fprintf(w, "gatehouse: %s\n", text.Escape(strings.ReplaceAll(err.Error(), "\n", "; "))) // as errors.Join separates
	}
	return exitStatus(err)
}
