// Package reply writes what the server sends back: JSON values, and the status and
// message for each error.
//
// A handler returns its error. One table (statuses) maps errors to what the client is
// told. An error that is not in the table, and is not an [Error], is a fault of the
// server: the client gets 500 and no detail, because the text may name a file or a
// person. The package never decides who may do what, and never logs.
package reply

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// Unstored forbids caches to keep any reply. Most replies contain a credential or answer
// one, and a shared cache knows only Authorization as a credential, not X-Auth-Token or
// a cookie (RFC 9111, section 3.5). It is the outermost handler, so that errors and
// redirects are included. A handler whose reply may be kept sets the header itself.
func Unstored(next http.Handler) http.Handler {
	value := []string{"no-store"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = value[:1:1] // shared, because the gate allocates nothing here
		next.ServeHTTP(w, r)
	})
}

// JSON sends a value as JSON. It ends with a newline, as text does, so that a shell's
// prompt does not follow on the same line.
func JSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	b, err := Marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"`+Internal+`"}`)
	}
	b = append(b, '\n')
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// Marshal is json.Marshal without the escapes for HTML, which programs do not need.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// OK answers with a value, as JSON, unless there is an error, which it returns.
func OK(w http.ResponseWriter, v any, err error) error {
	if err == nil {
		JSON(w, http.StatusOK, v)
	}
	return err
}

// NoContent answers a change that succeeded with 204, and returns the error of one that
// did not.
func NoContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
