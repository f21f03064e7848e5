package tokens

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// BenchmarkListingPart reads and encodes a part of getApiTokens.
func BenchmarkListingPart(b *testing.B) {
	store, err := storage.Open(b.TempDir(), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	u, err := store.AddUser(storage.Actor{Name: "tester"}, "alice@example.com", "", "")
	if err != nil {
		b.Fatal(err)
	}
	var list []storage.Imported
	for n := range 1000 {
		list = append(list, storage.Imported{Owner: u.ID, Name: fmt.Sprintf("<held> %d.", n), Created: int64(1_000_000 + n)})
	}
	if _, err := store.ImportTokens(storage.Actor{Name: "tester"}, list); err != nil {
		b.Fatal(err)
	}
	cfg := config.Default()
	ts := New(Needs{
		Store: store, Config: func() *config.Config { return &cfg }, Now: time.Now, Changes: guard.NewBudget(0, "", time.Now),
		Turns: guard.NewTurns(1), Origins: http.NewCrossOriginProtection(), Revoked: func(int) {},
	})
	r := route.Request{Request: httptest.NewRequest("GET", "/api/getApiTokens", nil)}
	r.User = route.Principal{ID: u.ID, UID: u.UID}
	buf := new(bytes.Buffer)
	b.ReportAllocs()
	for b.Loop() {
		q := storage.Owned{Owner: u.ID, Limit: PartTokens, Skip: 500}
		if _, err := ts.encode(buf, q, ts.documentedView(&r)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/PartTokens, "ns/token")
}
