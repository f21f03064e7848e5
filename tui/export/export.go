// Package export writes a listing for other programs: one JSON object a line, or
// comma-separated values. `token list --json` and `--csv` print these, and the terminal UI
// writes them into a file.
//
// It owns the names of the fields, which scripts rely on, and the rules for the file: only
// its owner may read it, it replaces another only if the user says so, and an export that
// fails leaves nothing behind. It never reads a listing itself, and holds one row at a time.
package export

import (
	"bufio"
	"encoding/csv"
	"fmt"
	"io"
	"iter"
	"reflect"
	"strings"
	"unicode/utf8"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

// User and Token are what is written for a user and a token. They are separate types
// because scripts rely on exactly these keys, even when the API's types get more fields.
type User struct {
	UID      string `json:"uid"`
	Name     string `json:"name"`
	Source   string `json:"source"`
	State    string `json:"state"`
	Created  int64  `json:"created"`
	Tokens   int    `json:"tokens"`
	LastUsed int64  `json:"lastUsed"`
}

type Token struct {
	ID          string   `json:"id"`
	UID         string   `json:"uid"`
	Name        string   `json:"name"`
	Created     int64    `json:"created"`
	CreatedBy   string   `json:"createdBy"`
	LastUsed    int64    `json:"lastUsed"`
	LastAddress string   `json:"lastAddress"`
	Uses        int64    `json:"uses"`
	ExpiresOn   string   `json:"expiresOn"`
	Scopes      []string `json:"scopes"`
	Addresses   []string `json:"addresses"`
	State       string   `json:"state"`
}

// UserLine returns what is written of a user.
func UserLine(u api.User) User {
	return User{u.UID, u.Name, u.Source, u.State, u.Created, u.Tokens, u.LastUsed}
}

// TokenLine returns what is written of a token.
func TokenLine(t api.Token) Token {
	return Token{
		t.ID, t.UID, t.Name, t.Created, t.CreatedBy, t.LastUsed, t.LastAddress, t.Uses, t.ExpiresOn,
		append([]string{}, t.Scopes...), append([]string{}, t.Addresses...), t.State,
	}
}

// As writes rows in a format.
func As[T, L any](f Format, w io.Writer, rows iter.Seq2[T, error], line func(T) L) error {
	if f == AsJSON {
		return JSON(w, rows, line)
	}
	return CSV(w, rows, line)
}

// JSON writes an object a line.
func JSON[T, L any](w io.Writer, rows iter.Seq2[T, error], line func(T) L) error {
	out := bufio.NewWriter(w)
	for row, err := range rows {
		if err != nil {
			out.Flush()
			return err
		}
		if err := Line(out, line(row)); err != nil {
			return err
		}
	}
	return out.Flush()
}

// CSV writes the keys of the lines as a head, and then a record a line. A list is
// one field, with spaces between its values. A text that a spreadsheet would take for a
// formula begins with an apostrophe, which shows it as it is: anybody may name a token, and
// somebody else opens the file.
func CSV[T, L any](w io.Writer, rows iter.Seq2[T, error], line func(T) L) error {
	out := csv.NewWriter(w)
	kind := reflect.TypeFor[L]()
	record := make([]string, kind.NumField())
	for n := range record {
		record[n] = kind.Field(n).Tag.Get("json")
	}
	out.Write(record) // it keeps the error for Flush
	some := false
	for row, err := range rows {
		if err != nil {
			if some { // a list that is refused has no head
				out.Flush()
			}
			return err
		}
		some = true
		v := reflect.ValueOf(line(row))
		for n := range record {
			switch field := v.Field(n).Interface().(type) {
			case []string:
				record[n] = inert(strings.Join(field, " "))
			case string:
				record[n] = inert(field)
			default:
				record[n] = fmt.Sprint(field)
			}
		}
		if err := out.Write(record); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// inert returns a text that no spreadsheet takes for a formula. Some also know the full-width
// forms of the signs.
func inert(s string) string {
	if first, _ := utf8.DecodeRuneInString(s); strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}

// Line writes a value as JSON, on one line that a terminal can show as it is.
func Line(w io.Writer, v any) error {
	b, err := text.JSON(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}
