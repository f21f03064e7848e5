package body_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/server/body"
	"gatehouse/server/reply"
	"gatehouse/storage/storagetest/must"
)

// FuzzCheckJSON: what passes is one object of valid JSON in which no name occurs twice,
// however encoding/json compares names. So all readers read the same.
func FuzzCheckJSON(f *testing.F) {
	for _, seed := range []string{
		`{}`, `null`, `[]`, `{"name":"a"}`, `{"name":"a","name":"b"}`, `{"name":"a","NAME":"b"}`, `{"\u006eame":"a","name":"b"}`, `{"scopes":[],"ſcopes":[]}`,
		`{"a":{"b":1,"B":2}}`, `{"a":[{"b":1},{"b":2}]}`, `{"a":1}{}`, `{"a":1e999}`, "{\"a\":\"\xff\"}", `{"a"`, "\xef\xbb\xbf{}", ` {"K":1} `, `{"K":1,"k":2}`,
		strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := body.CheckJSON(b)
		if err != nil {
			if status, _ := reply.Status(err); status != http.StatusBadRequest {
				t.Fatalf("%q: got %v, want a refusal", b, err)
			}
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(b, &all); err != nil || all == nil {
			t.Fatalf("%q passes, and is not an object: %v", b, err)
		}
		for one := range all {
			for other := range all {
				if one != other && strings.EqualFold(one, other) {
					t.Errorf("%q passes with %q and %q", b, one, other)
				}
			}
		}
		var last struct{ Name, Scopes json.RawMessage }
		must.Do(t, json.Unmarshal(b, &last))
	})
}

// FuzzReadFields: a body is read or refused. A form gives the same fields as JSON with
// the same content.
func FuzzReadFields(f *testing.F) {
	for _, mediaType := range []string{"application/x-www-form-urlencoded", "application/json", "multipart/form-data; boundary=x", "text/plain", ""} {
		for _, body := range []string{
			"username=a&password=b", "username=a&username=b", "a;b=c", "%zz", "=&=", `{"username":"a"}`, `{"username":1}`, "null",
			"--x\r\nContent-Disposition: form-data; name=\"username\"\r\n\r\na\r\n--x--\r\n",
			"--x\r\nContent-Disposition: form-data; name=\"username\"; filename=\"f\"\r\n\r\na\r\n--x--\r\n",
		} {
			f.Add(mediaType, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, mediaType string, text []byte) {
		r := httptest.NewRequest("POST", "/", strings.NewReader(string(text)))
		r.Header["Content-Type"] = []string{mediaType}
		fields, err := body.Fields(r)
		if err != nil {
			switch status, message := reply.Status(err); status {
			case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusRequestEntityTooLarge:
			default:
				t.Fatalf("%q as %q: got %d %s for %v", text, mediaType, status, message, err)
			}
			return
		}
		again := httptest.NewRequest("POST", "/", strings.NewReader(encode(t, fields)))
		again.Header.Set("Content-Type", "application/json")
		same, err := body.Fields(again)
		if err != nil {
			return // names that differ by case alone, or text that is not UTF-8
		}
		for name, v := range fields {
			if got, ok := same[name]; (!ok || got != v) && strings.ToValidUTF8(name+v, "") == name+v {
				t.Errorf("%q as %q: got %q as JSON for %q", text, mediaType, got, v)
			}
		}
	})
}

func encode(t *testing.T, fields map[string]string) string {
	t.Helper()
	b := must.Get(json.Marshal(fields))(t)
	return string(b)
}
