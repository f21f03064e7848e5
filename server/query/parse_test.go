package query_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/query"
	"gatehouse/storage"
)

var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

func parser() query.Parser { return query.Parser{Now: noon, Span: config.ParseSpan} }

func TestWords(t *testing.T) {
	for words, want := range map[string]string{
		"":                         "",
		"  ":                       "",
		"nightly":                  "search nightly",
		"a  b\tc":                  "search a, search b, search c",
		"user:ada idle:90d x":      "user ada, search x, idle 90d",
		"USER:ada@example.com":     "user ada@example.com",
		`name:"my laptop"`:         "name my laptop",
		`"my laptop"`:              "search my laptop",
		`name:"Ada's \"old\" one"`: `name Ada's "old" one`,
		`12\" \tmp\ \`:             `search 12", search \tmp\, search \`,
		`"from:10.0.0.1"`:          "search from:10.0.0.1",
		`search:user:ada`:          "search user:ada",
		"from:10.0.0.0/8":          "from 10.0.0.0/8",
		"from:2001:db8::/32":       "from 2001:db8::/32",
		"never-used":               "never-used",
		"never-used:":              "never-used",
		"never-used:yes":           "never-used",
		`"never-used"`:             "search never-used",
		"unlimited state:live ci":  "search ci, unlimited, state live",
		"scope:a scope:b":          "scope a, scope b",
		"used-after:2026-01-01 used-before:36h created-after:2026-11-29T15:04:05+02:00": "used-after 2026-01-01, used-before 36h, created-after 2026-11-29T15:04:05+02:00",
	} {
		q, err := parser().Tokens(nil, words)
		if err != nil || q.String() != want || q.All() != (want == "") {
			t.Errorf("%q: got %q, %v, want %q", words, q, err, want)
		}
	}
}

// secret has the form of a token.
var secret = strings.Repeat("0123456789abcdef", 16)

// TestWrong: in both forms, the error says what is wrong and what is allowed.
func TestWrong(t *testing.T) {
	for filter, want := range map[string]string{
		"colour:red":                       `colour: is not a filter here; filters are user, source, owner, search,`,
		"idle:soon":                        `idle: "soon" is not a span of time: write numbers with y, w, d,`,
		"idle:-3d":                         `idle: "-3d" is not a span`,
		"idle:":                            `idle: needs a value: SPAN`,
		"used-after:yesterday":             `used-after: "yesterday" is not a time: write RFC 3339 such as`,
		"created-before:2026-13":           `created-before: "2026-13" is not a time`,
		"from:10.0.0":                      `from: "10.0.0" is not an address or a network: write 10.1.2.3,`,
		"from:::ffff:10.0.0.0/8":           `from: "::ffff:10.0.0.0/8" is not an address`,
		"state:alive":                      `state: "alive" is not valid: write live, expired, suspended or revoked`,
		"id:xyz":                           `id: "xyz" is not the beginning of an id`,
		"scope:a,b":                        `scope: a scope is 1 to 64 letters`,
		"expires-within:x":                 `expires-within: "x" is not a span`,
		"never-used:no":                    `never-used: takes no value`,
		"user:a user:b":                    `user: is given twice`,
		`name:"x`:                          `name: a quotation mark is not closed`,
		`a "b`:                             `search: a quotation mark is not closed`,
		"name:" + strings.Repeat("n", 257): `name: is longer than 256 bytes`,
		strings.Repeat("x ", 17):           `search: is given more than 16 times`,
		`"" user:a`:                        `search: needs a value`,
		secret:                             `search: this is a token: look for its id, which is its first 28 characters`,
		"id:" + secret:                     `id: this is a token`,
		"name:" + strings.ToUpper(secret):  `name: this is a token`,
		"from:" + secret[1:]:               `from: this is a token`,
		"X-Auth-Token:" + secret:           `search: this is a token`,
		secret + ":":                       `search: this is a token`,
	} {
		_, err := parser().Tokens(nil, filter)
		e, invalid := new(query.Error), new(storage.InvalidError)
		if !errors.As(err, &e) || !errors.As(err, &invalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %s", filter, err, want)
		}
		if strings.Contains(strings.ToLower(err.Error()), secret[30:90]) {
			t.Errorf("%.40q: the error repeats a token: %v", filter, err)
		}
	}
	for name, value := range map[string]string{"colour": "red", "idle": "soon", "user": "", "never-used": "false", "": "x"} {
		if _, err := parser().Tokens(api.Where(name, value), ""); err == nil || !strings.HasPrefix(err.Error(), name+": ") {
			t.Errorf("%s %q: got %v", name, value, err)
		}
	}
	if _, err := parser().Users(nil, "state:live"); err == nil || err.Error() != `state: "live" is not valid: write active, disabled, suspended or unverified` {
		t.Errorf("got %v", err)
	}
	if _, err := parser().Users(api.Where("idle", "90d"), ""); err == nil || !strings.Contains(err.Error(), "filters are search, prefix, source, state, locked") {
		t.Errorf("got %v", err)
	}
}

// FuzzWords: the parser fails on a query line only with an *Error, and a line that it
// takes reads the same in the audit log each time.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "user:ada idle:90d from:10.0.0.0/8 nightly", `name:"a b" "`, "::::", "\x00:\xff", `a"b:c"d`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, words string) {
		q, err := parser().Tokens(nil, words)
		e := new(query.Error)
		if err != nil && (!errors.As(err, &e) || e.Filter == "" && !strings.HasPrefix(strings.TrimSpace(words), ":") || e.Why == "") {
			t.Fatalf("%q: got %v", words, err)
		}
		if again, _ := parser().Tokens(nil, words); again.String() != q.String() {
			t.Fatalf("%q: read as %q and %q", words, q, again)
		}
	})
}
