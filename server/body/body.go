// Package body reads the bodies of requests: JSON objects and forms, at most 64 KiB.
//
// It refuses everything that another reader of the same bytes might understand
// differently, because a proxy in front of the server may act on what it read: a name that
// occurs twice, text that is not UTF-8, an encoding that it was not told of. The package
// knows nothing about the fields themselves, and never logs.
package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"gatehouse/server/reply"
	"gatehouse/server/textfile"
)

const maxBody = 64 << 10

// Read returns the whole body, at most maxBody bytes, without a byte-order mark.
func Read(r *http.Request) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, reply.Refuse(http.StatusUnsupportedMediaType, "A body with Content-Encoding is not accepted: send it unencoded")
	}
	_, params := MediaType(r)
	if err := checkCharset(params); err != nil {
		return nil, err
	}
	if r.ContentLength > maxBody { // a client that expects 100 Continue never sends such a body
		return nil, &http.MaxBytesError{Limit: maxBody}
	}
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, err
	}
	if err != nil {
		return nil, reply.Refuse(http.StatusBadRequest, "The body is incomplete: send it again")
	}
	if textfile.IsUTF16(b) {
		return nil, reply.Refuse(http.StatusBadRequest, "The body is UTF-16: send UTF-8")
	}
	return bytes.TrimPrefix(b, []byte("\ufeff")), nil // the byte-order mark of a file that Windows wrote
}

// MediaType returns the body's media type and its parameters, "" if the request names
// none or a malformed one.
func MediaType(r *http.Request) (string, map[string]string) {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil
	}
	return t, params
}

// checkCharset refuses text that declares another encoding than UTF-8. Read as UTF-8, a
// right password would become a wrong one.
func checkCharset(params map[string]string) error {
	switch strings.ToLower(params["charset"]) {
	case "", "utf-8", "utf8", "us-ascii":
		return nil
	}
	return reply.Refuse(http.StatusUnsupportedMediaType, "Send the text in UTF-8 (charset=utf-8)")
}

// Fields reads a body of named strings: a form, URL-encoded or multipart, or a JSON
// object. It leaves out values of a JSON object that are not strings. A name that occurs
// twice is an error, since a proxy that reads the same body might take the other value. So is
// a required field that is missing.
func Fields(r *http.Request, required ...string) (fields map[string]string, err error) {
	if fields, err = read(r); err == nil {
		_, err = Require(fields, required...)
	}
	if err != nil {
		return nil, err
	}
	return fields, nil
}

func read(r *http.Request) (map[string]string, error) {
	b, err := Read(r)
	if err != nil {
		return nil, err
	}
	t, params := MediaType(r)
	switch t {
	case "application/x-www-form-urlencoded":
		// A semicolon separates nothing (WHATWG URL, section 5.1), and may be in a
		// password, but ParseQuery refuses it.
		v, err := url.ParseQuery(strings.ReplaceAll(string(b), ";", "%3B"))
		if err != nil {
			return nil, reply.Refuse(http.StatusBadRequest, "The form is malformed")
		}
		return single(v)
	case "multipart/form-data":
		if params["boundary"] == "" {
			return nil, reply.Refuse(http.StatusBadRequest, "The form is malformed")
		}
		return readParts(multipart.NewReader(bytes.NewReader(b), params["boundary"]))
	case "application/json":
		return jsonFields(b)
	}
	return nil, reply.Refuse(http.StatusUnsupportedMediaType, "Send a form (application/x-www-form-urlencoded) or JSON (application/json)")
}

// readParts reads the fields of a multipart form and leaves out files. Each field may
// name an encoding of its own.
func readParts(form *multipart.Reader) (map[string]string, error) {
	v := url.Values{}
	for {
		p, err := form.NextPart()
		if err == io.EOF {
			return single(v)
		}
		if err != nil {
			return nil, reply.Refuse(http.StatusBadRequest, "The form is malformed")
		}
		if p.FormName() == "" || p.FileName() != "" {
			continue
		}
		if _, params, err := mime.ParseMediaType(p.Header.Get("Content-Type")); err == nil {
			if err := checkCharset(params); err != nil {
				return nil, err
			}
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return nil, reply.Refuse(http.StatusBadRequest, "The form is malformed")
		}
		v.Add(p.FormName(), string(b))
	}
}

func single(v url.Values) (map[string]string, error) {
	fields := make(map[string]string, len(v))
	for name, values := range v {
		if len(values) != 1 {
			return nil, reply.Refuse(http.StatusBadRequest, "The field %q appears more than once", name)
		}
		fields[name] = values[0]
	}
	return fields, nil
}

func jsonFields(b []byte) (map[string]string, error) {
	if err := CheckJSON(b); err != nil {
		return nil, err
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, jsonError(err)
	}
	fields := make(map[string]string, len(all))
	for name, v := range all {
		var text *string
		if json.Unmarshal(v, &text) == nil && text != nil {
			fields[name] = *text
		}
	}
	return fields, nil
}

// Require returns the named fields, or an error that says which is missing.
func Require(fields map[string]string, names ...string) ([]string, error) {
	values := make([]string, len(names))
	for i, name := range names {
		v, ok := fields[name]
		if !ok {
			return nil, reply.Refuse(http.StatusBadRequest, "The field %q is missing", name)
		}
		values[i] = v
	}
	return values, nil
}

// OptionalJSON is [JSON] for a body that may be empty, which leaves v unchanged.
func OptionalJSON(r *http.Request, v any) error {
	b, err := Read(r)
	if err != nil || len(bytes.TrimSpace(b)) == 0 {
		return err
	}
	return decode(r, b, v)
}

// JSON reads a JSON object into v, a pointer to a struct. A name that is not a field of
// the struct is an error.
func JSON(r *http.Request, v any) error {
	b, err := Read(r)
	if err != nil {
		return err
	}
	return decode(r, b, v)
}

func decode(r *http.Request, b []byte, v any) error {
	if t, _ := MediaType(r); t != "application/json" {
		return reply.Refuse(http.StatusUnsupportedMediaType, "Send JSON (Content-Type: application/json)")
	}
	if err := CheckJSON(b); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return jsonError(err)
	}
	return nil
}

func jsonError(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return reply.Refuse(http.StatusBadRequest, "The field %q can't be a %s", wrong.Field, wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return reply.Refuse(http.StatusBadRequest, "Unknown field %s", name)
	}
	return reply.Refuse(http.StatusBadRequest, "The body is not a JSON object of the expected form")
}

// CheckJSON refuses a body that is not a JSON object. It also refuses what encoding/json
// silently accepts: a name that occurs twice (it takes the last one, others take the
// first), also in another case (it ignores case in names), and text that is not UTF-8 (it
// repairs some and passes on some).
func CheckJSON(b []byte) error {
	if !json.Valid(b) || !utf8.Valid(b) {
		return reply.Refuse(http.StatusBadRequest, "The body is not valid JSON")
	}
	if bytes.TrimLeft(b, " \t\r\n")[0] != '{' {
		return reply.Refuse(http.StatusBadRequest, "The body is not a JSON object")
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	return uniqueNames(dec, 0)
}

// uniqueNames refuses a name that occurs twice in an object, at any depth of a valid
// JSON value, and a depth of more than 32.
func uniqueNames(dec *json.Decoder, depth int) error {
	const deepest = 32
	t, err := dec.Token()
	if err != nil || depth > deepest {
		return reply.Refuse(http.StatusBadRequest, "The JSON is nested too deeply")
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for dec.More() {
		if open == '{' {
			t, err := dec.Token()
			name, _ := t.(string)
			folded := strings.ToLower(strings.ToUpper(name)) // so that the long s is an s
			if err != nil || names[folded] {
				return reply.Refuse(http.StatusBadRequest, "The field %q appears more than once", name)
			}
			names[folded] = true
		}
		if err := uniqueNames(dec, depth+1); err != nil {
			return err
		}
	}
	_, err = dec.Token() // the closing bracket
	return err
}
