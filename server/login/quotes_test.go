package login

import (
	"encoding/json"
	"testing"

	"gatehouse/storage/storagetest/must"
)

func TestDoubleQuotes(t *testing.T) {
	for in, want := range map[string]string{
		`{'email':'a@b', 'info': { 'accessToken': 'x' }}`: `{"email":"a@b", "info": { "accessToken": "x" }}`,
		`{"a":"it's"}`:          `{"a":"it's"}`,
		`{'a':'it\'s'}`:         `{"a":"it's"}`,
		`{'a':'say "x"'}`:       `{"a":"say \"x\""}`,
		`{'a':'\\'}`:            `{"a":"\\"}`,
		`{'a':'\"'}`:            `{"a":"\""}`,
		`{"a":"\"'\""}`:         `{"a":"\"'\""}`,
		`{'a':'\u0041'}`:        `{"a":"\u0041"}`,
		`{'a':1,'b':[true,'']}`: `{"a":1,"b":[true,""]}`,
		`{}`:                    `{}`,
	} {
		got := string(doubleQuotes([]byte(in)))
		if got != want || !json.Valid([]byte(got)) {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
	for _, in := range []string{``, `'`, `\`, `{'a':'b}`, `{'a':'b"}`, `{"a":'b"}`, `{'a':'\'}`, `{'a' 'b'}`, `{'a':b}`, "{'a':'\n'}", `{''a'':'b'}`, `{a:'b'}`, `{'a':'b',}`, `{'a':'\x'}`} {
		if got := doubleQuotes([]byte(in)); json.Valid(got) {
			t.Errorf("%s: got %s, which is JSON", in, got)
		}
	}
}

// FuzzDoubleQuotes: JSON stays the same, to the byte, with any quotes in its strings. The
// meaning of a single-quoted text does not change when it becomes JSON.
func FuzzDoubleQuotes(f *testing.F) {
	for _, seed := range []string{`{'email':'a@b', 'info': { 'accessToken': 'x' }}`, `{"a":"it's"}`, `{'a':'it\'s "x"'}`, `\`, `'`, `"\"`} {
		f.Add([]byte(seed), "it's \"x\" \\ \n")
	}
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		got := doubleQuotes(b)
		if json.Valid(b) && string(got) != string(b) {
			t.Errorf("got %q of the JSON %q", got, b)
		}
		if again := doubleQuotes(got); json.Valid(got) && string(again) != string(got) {
			t.Errorf("%q: got %q, and of that %q", b, got, again)
		}
		// The same text in single quotes and in double quotes.
		quoted := must.Get(json.Marshal(text))(t)
		single := []byte{'\''}
		for _, c := range string(quoted[1 : len(quoted)-1]) {
			if c == '\'' {
				single = append(single, '\\')
			}
			single = append(single, string(c)...)
		}
		single = append(single, '\'')
		var one, other string
		if json.Unmarshal(quoted, &one) != nil || json.Unmarshal(doubleQuotes(single), &other) != nil || one != other {
			t.Errorf("%s: got %q, want %q", single, other, one)
		}
	})
}
