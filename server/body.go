package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
)

const maxBody = 64 << 10

// readBody reads the whole body, of at most maxBody bytes.
func readBody(r *http.Request) ([]byte, error) {
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return nil, refuse(http.StatusUnsupportedMediaType, "A body with Content-Encoding is not taken")
	}
	b, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, err
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "The body did not arrive whole")
	}
	return b, nil
}

// mediaType is the body's, or empty when the request names none that is well formed.
func mediaType(r *http.Request) (string, map[string]string) {
	t, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", nil
	}
	return t, params
}

// readFields reads a body of named strings: a form, URL-encoded or multipart,
// or a JSON object. A name that stands twice is an error, since another reader
// of the same body might take the other one.
func readFields(r *http.Request) (map[string]string, error) {
	b, err := readBody(r)
	if err != nil {
		return nil, err
	}
	t, params := mediaType(r)
	switch t {
	case "application/x-www-form-urlencoded":
		v, err := url.ParseQuery(string(b))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "The form is malformed")
		}
		return single(v)
	case "multipart/form-data":
		r.Body = io.NopCloser(bytes.NewReader(b))
		if params["boundary"] == "" || r.ParseMultipartForm(maxBody) != nil {
			return nil, refuse(http.StatusBadRequest, "The form is malformed")
		}
		return single(r.MultipartForm.Value)
	case "application/json":
		return jsonFields(b)
	}
	return nil, refuse(http.StatusUnsupportedMediaType, "Send a form (application/x-www-form-urlencoded) or JSON (application/json)")
}

func single(v url.Values) (map[string]string, error) {
	fields := make(map[string]string, len(v))
	for name, values := range v {
		if len(values) != 1 {
			return nil, refuse(http.StatusBadRequest, "The field %q stands more than once", name)
		}
		fields[name] = values[0]
	}
	return fields, nil
}

func jsonFields(b []byte) (map[string]string, error) {
	if err := checkJSON(b); err != nil {
		return nil, err
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil || all == nil {
		return nil, refuse(http.StatusBadRequest, "The body is not a JSON object")
	}
	fields := make(map[string]string, len(all))
	for name, v := range all {
		if s, ok := v.(string); ok {
			fields[name] = s
		}
	}
	return fields, nil
}

// require returns the named fields, or an error that says which is missing.
func require(fields map[string]string, names ...string) ([]string, error) {
	values := make([]string, len(names))
	for i, name := range names {
		v, ok := fields[name]
		if !ok {
			return nil, refuse(http.StatusBadRequest, "The field %q is missing", name)
		}
		values[i] = v
	}
	return values, nil
}

// readJSON reads a JSON object into v, a pointer to a struct whose fields are
// all that may come. An empty body leaves v as it is when it may be empty.
func readJSON(r *http.Request, v any, mayBeEmpty bool) error {
	b, err := readBody(r)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(b)) == 0 && mayBeEmpty {
		return nil
	}
	if t, _ := mediaType(r); t != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "Send JSON (Content-Type: application/json)")
	}
	if err := checkJSON(b); err != nil {
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
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return refuse(http.StatusBadRequest, "The field %q can't be a %s", wrong.Field, wrong.Value)
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return refuse(http.StatusBadRequest, "The field %s is not known", name)
	}
	return refuse(http.StatusBadRequest, "The body is not the JSON object that is expected")
}

// checkJSON refuses what encoding/json lets pass in silence: a name that
// stands twice (it takes the last, others the first), also in another case (it
// matches names without case), and anything after the value.
func checkJSON(b []byte) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := uniqueNames(dec, 0); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "There is text after the JSON value")
	}
	return nil
}

func uniqueNames(dec *json.Decoder, depth int) error {
	const deepest = 32
	t, err := dec.Token()
	if err != nil || depth > deepest {
		return refuse(http.StatusBadRequest, "The body is not valid JSON")
	}
	open, ok := t.(json.Delim)
	if !ok {
		return nil
	}
	names := map[string]bool{}
	for dec.More() {
		if open == '{' {
			t, err := dec.Token()
			if err != nil {
				return refuse(http.StatusBadRequest, "The body is not valid JSON")
			}
			name := strings.ToLower(fmt.Sprint(t))
			if names[name] {
				return refuse(http.StatusBadRequest, "The field %q stands more than once", fmt.Sprint(t))
			}
			names[name] = true
		}
		if err := uniqueNames(dec, depth+1); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil { // the closing bracket
		return refuse(http.StatusBadRequest, "The body is not valid JSON")
	}
	return nil
}
