package tokens

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// listing returns the API of a store, and the request of a user who has a thousand tokens.
func listing(tb testing.TB) (*Tokens, *route.Request) {
	store := must.Get(storage.Open(tb.TempDir(), storage.Options{}))(tb)
	tb.Cleanup(func() { store.Close() })
	u := must.Get(store.AddUser(storage.Actor{Name: "tester"}, "alice@example.com", "", ""))(tb)
	var list []storage.Imported
	for n := range 1000 {
		list = append(list, storage.Imported{Owner: u.ID, Name: fmt.Sprintf("<held> %d.", n), Created: int64(1_000_000 + n)})
	}
	must.Get(store.ImportTokens(storage.Actor{Name: "tester"}, list))(tb)
	cfg := config.Default()
	ts := New(Needs{
		Store: store, Config: func() *config.Config { return &cfg }, Now: time.Now, Changes: guard.NewBudget(0, "", time.Now),
		Turns: guard.NewTurns(1), Origins: http.NewCrossOriginProtection(), Revoked: func(int) {},
	})
	r := &route.Request{Request: httptest.NewRequest("GET", "/api/getApiTokens", nil)}
	r.User = route.Principal{ID: u.ID, UID: u.UID}
	return ts, r
}

// slowReader takes nothing until it is released.
type slowReader struct {
	http.ResponseWriter
	once            sync.Once
	begun, released chan struct{}
}

func (w *slowReader) Write(b []byte) (int, error) {
	w.once.Do(func() { close(w.begun) })
	<-w.released
	return w.ResponseWriter.Write(b)
}

// TestSlowReaderHoldsNoTurn: a client that reads nothing does not keep anybody from a listing,
// not even its own user.
func TestSlowReaderHoldsNoTurn(t *testing.T) {
	ts, r := listing(t)
	send := func(w http.ResponseWriter) chan error {
		done := make(chan error, 1)
		go func() { done <- ts.sendTokens(w, r, r.User.ID, ts.documentedView(r)) }()
		return done
	}
	slow := &slowReader{ResponseWriter: httptest.NewRecorder(), begun: make(chan struct{}), released: make(chan struct{})}
	first := send(slow)
	<-slow.begun
	quick := httptest.NewRecorder()
	second := send(quick)
	select {
	case err := <-second:
		must.Do(t, err)
	case <-time.After(time.Minute):
		t.Error("a listing waits for a client that reads nothing")
	}
	close(slow.released)
	must.Do(t, <-first)
	if got := slow.ResponseWriter.(*httptest.ResponseRecorder).Body; got.Len() == 0 || !bytes.Equal(got.Bytes(), quick.Body.Bytes()) {
		t.Errorf("got %d and %d bytes, want the same list", got.Len(), quick.Body.Len())
	}
}

// BenchmarkListingPart reads and encodes a part of getApiTokens.
func BenchmarkListingPart(b *testing.B) {
	ts, r := listing(b)
	buf := new(bytes.Buffer)
	b.ReportAllocs()
	for b.Loop() {
		q := storage.Owned{Owner: r.User.ID, Limit: PartTokens, Skip: 500}
		must.Get(ts.encode(buf, q, ts.documentedView(r)))(b)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/PartTokens, "ns/token")
}
