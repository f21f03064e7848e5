package guard

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// openThrottle returns a throttle on a real store.
func openThrottle(t *testing.T) *Throttle {
	t.Helper()
	store := must.Get(storage.Open(t.TempDir(), storage.Options{}))(t)
	t.Cleanup(func() { store.Close() })
	return NewThrottle(store.Expiring(), func() config.Logins { return config.Logins{AccountFailures: 5, AddressFailures: 60_000} }, time.Now)
}

// TestEnterAtOnce: side by side, no more attempts get in than one after another. When all
// are over, none of them still counts as under way.
func TestEnterAtOnce(t *testing.T) {
	throttle := openThrottle(t)
	var all sync.WaitGroup
	var mu sync.Mutex
	in, late := 0, 0
	for range 100 {
		all.Go(func() {
			leave, err := throttle.Enter(t.Context(), NewAttempt("alice@example.com", netip.MustParseAddr("192.0.2.1")))
			mu.Lock()
			refused, ok := errors.AsType[*reply.Error](err)
			switch {
			case err == nil:
				in++
			case ok && refused.Status == http.StatusTooManyRequests && refused.Retry > 0:
				late++
			default:
				t.Errorf("got %v", err)
			}
			mu.Unlock()
			if err == nil {
				leave(Rejected, nil)
			}
		})
	}
	all.Wait()
	if in != 5 || late != 95 {
		t.Errorf("%d attempts got in and %d came too early, want 5 and 95", in, late)
	}
	if len(throttle.flying) != 0 {
		t.Errorf("%d accounts are still under way", len(throttle.flying))
	}
}

// TestBuckets: a user's failures are found under every name that was tried for the same
// person of the directory.
func TestBuckets(t *testing.T) {
	throttle := openThrottle(t)
	byName := NewAttempt(" bob", netip.MustParseAddr("192.0.2.1")).ToDirectory(" bob")
	throttle.NoteName(byName.OfPerson("7-7"), byName)
	got, err := throttle.bucketsOf(storage.User{UID: "B@x", Identities: []storage.Identity{{Source: "ldap", Subject: "7-7"}, {Source: "github", Subject: "1"}}})
	if want := []string{"account b@x", "ldap account b@x", "ldap person 7-7", "ldap account bob"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got the buckets %q, %v, want %q", got, err, want)
	}
}
