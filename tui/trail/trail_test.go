package trail

import (
	"reflect"
	"testing"

	"gatehouse/server/api"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		line string
		want Query
	}{
		{"", Query{filters: api.Filters{}}},
		{"  Login  2001:db8::1 ", Query{filters: api.Filters{}, words: []string{"login", "2001:db8::1"}}},
		{"by:root action:token.revoke since:24h", Query{filters: api.Where("by", "root", "action", "token.revoke", "since", "24h")}},
		{`BY:"Ada Allen" from:10.0.0.0/8`, Query{filters: api.Where("by", "Ada Allen", "from", "10.0.0.0/8")}},
		{"about:ada@example.com", Query{filters: api.Filters{}, uid: "ada@example.com"}},
		{"about:01ab23cd x", Query{filters: api.Filters{}, token: "01ab23cd", words: []string{"x"}}},
		{"since: by", Query{filters: api.Where("since", ""), words: []string{"by"}}}, // the server says what is missing
		{`"not closed`, Query{filters: api.Filters{}, words: []string{"not closed"}}},
		{"about:ada@example.com ABOUT:01ab23cd", Query{filters: api.Filters{}, uid: "ada@example.com", fault: errAboutTwice}},
		{"about:", Query{filters: api.Filters{}, words: []string{"about:"}}},
		{"\x1b[2J:\u202e", Query{filters: api.Filters{}, words: []string{"\x1b[2j:\u202e"}}},
	} {
		if got := Parse(c.line, nil); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %+v, want %+v", c.line, got, c.want)
		}
	}
	screen := api.Where("action", "token.network")
	for line, want := range map[string]api.Filters{"by:root": api.Where("action", "token.network", "by", "root"), "Action:user": api.Where("action", "user"), `"action:user"`: screen} {
		if got := Parse(line, screen).filters; !reflect.DeepEqual(got, want) {
			t.Errorf("%s on a screen: got %v, want %v", line, got, want)
		}
	}
}
