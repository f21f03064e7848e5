package server

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// replySecret sends a value that holds a credential, which no cache may keep.
func replySecret(w http.ResponseWriter, v any) {
	w.Header().Set("Cache-Control", "no-store")
	reply(w, http.StatusOK, v)
}

// reply sends a value as JSON. It ends with a newline, as text does, so that a shell's
// prompt does not follow on the same line.
func reply(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	b, err := marshal(v)
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"error":"Internal error"}`)
	}
	b = append(b, '\n')
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

// marshal is json.Marshal without escapes for HTML, of which programs need none.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// noContent answers an administrator's change that succeeded with 204.
func noContent(w http.ResponseWriter, err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}
