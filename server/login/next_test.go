package login_test

import (
	"strings"
	"testing"

	"gatehouse/server/login"
)

func TestLocalPath(t *testing.T) {
	for next, local := range map[string]bool{
		"/":                                     true,
		"/api/createApiToken":                   true,
		"/?page=2&x=%2f%2fevil.example":         true,
		"/%5cevil.example":                      true,
		"/a//b":                                 true,
		"":                                      false,
		"api":                                   false,
		"//evil.example":                        false,
		"///evil.example":                       false,
		`/\evil.example`:                        false,
		`\\evil.example`:                        false,
		`/a\b`:                                  false,
		"/\t/evil.example":                      false,
		"/\n/evil.example":                      false,
		"/\r\nSet-Cookie: a=b":                  false,
		" //evil.example":                       false,
		"\x00//evil.example":                    false,
		"/\x7f/":                                false,
		"/\u2215evil":                           false,
		"https://evil.example":                  false,
		"https:evil.example":                    false,
		"HTTPS:/evil.example":                   false,
		"javascript:alert(1)":                   false,
		"data:text/html,x":                      false,
		"@evil.example":                         false,
		"/%zz":                                  false,
		"/" + strings.Repeat("a", 1024):         false,
		"http://example.com/api/createApiToken": false,
	} {
		want := ""
		if local {
			want = next
		}
		if got := login.LocalPath(next); got != want {
			t.Errorf("%q: got %q, want %q", next, got, want)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, s := range []string{"/", "//x", `/\x`, "/\t/x", "/a?b#c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, next string) {
		got := login.LocalPath(next)
		if got == "" {
			return
		}
		if got != next || got[0] != '/' || len(got) > 1 && (got[1] == '/' || got[1] == '\\') || strings.ContainsAny(got, "\t\r\n\\\x00 ") {
			t.Errorf("%q is taken for a path of ours", next)
		}
	})
}
