package admin

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"testing"

	"gatehouse/server/route"
	"gatehouse/storage"
)

// TestListingBreaksOff: damage met in the middle of a listing is its last line.
func TestListingBreaksOff(t *testing.T) {
	a := New(nil, Host{Log: slog.New(slog.DiscardHandler)})
	w := httptest.NewRecorder()
	err := a.stream(w, &route.Request{Request: httptest.NewRequest("GET", "/", nil)}, 0, func(yield func(any, error) bool) {
		_ = yield(1, nil) && yield(nil, fmt.Errorf("%w: record /x", storage.ErrDamaged))
	})
	if want := "{\"row\":1}\n{\"error\":\"The store is not available: ask an administrator\"}\n"; err != nil || w.Body.String() != want {
		t.Errorf("got %q, %v, want %q", w.Body.String(), err, want)
	}
}
