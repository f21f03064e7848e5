package listing

import (
	"strings"
	"testing"

	"gatehouse/server/api"
)

func TestComplete(t *testing.T) {
	for _, c := range []struct{ line, want, hint string }{
		{"us", "use", "user  used-after  used-before"},
		{"use", "use", "user  used-after  used-before"},
		{"used-a", "used-after:", ""},
		{"nightly NEV", "nightly never-used ", ""},
		{"never-used state:", "never-used state:", "live  expired  suspended  revoked"},
		{"state:li", "state:live ", "state: in this state"},
		{"idle:", "idle:", "idle: unused for at least so long"},
		{"idle:9", "idle:9", "idle: unused"},
		{"nightly", "nightly", ""},
		{"colour:", "colour:", ""},
	} {
		got, hint := Complete(c.line, api.TokenFilters)
		if got != c.want || !strings.HasPrefix(hint, c.hint) || c.hint == "" && hint != "" {
			t.Errorf("%q: got %q, %q, want %q, %q", c.line, got, hint, c.want, c.hint)
		}
	}
	if _, hint := Complete("", api.UserFilters); hint != "search  prefix  source  state  locked" {
		t.Errorf("got %q: with nothing typed, it lists all", hint)
	}
}
