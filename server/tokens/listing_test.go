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
	"gatehouse/storage/storagetest/must"
)

// BenchmarkListingPart reads and encodes a part of getApiTokens.
func BenchmarkListingPart(b *testing.B) {
	store := must.Get(storage.Open(b.TempDir(), storage.Options{}))(b)
	defer store.Close()
	u := must.Get(store.AddUser(storage.Actor{Name: "tester"}, "alice@example.com", "", ""))(b)
	var list []storage.Imported
	for n := range 1000 {
		list = append(list, storage.Imported{Owner: u.ID, Name: fmt.Sprintf("<held> %d.", n), Created: int64(1_000_000 + n)})
	}
	must.Get(store.ImportTokens(storage.Actor{Name: "tester"}, list))(b)
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
		must.Get(ts.encode(buf, q, ts.documentedView(&r)))(b)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/PartTokens, "ns/token")
}
