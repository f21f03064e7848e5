package storage_test

import (
	"iter"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// BenchmarkPages measures pages of 100 rows, and counts, in a store with 100,000
// users and a million tokens. Building the store takes minutes.
func BenchmarkPages(b *testing.B) {
	if testing.Short() {
		b.Skip("it makes a million tokens")
	}
	s := openWith(b, b.TempDir(), storage.Options{})
	users := importUsers(b, s, 100_000, func(n int) storage.User {
		return storage.User{UID: benchName(n), Source: storage.SourceLocal, Created: int64(1 + n%500)}
	})
	importTokens(b, s, users, 1_000_000, nil)
	ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMilli() }
	const day = 24 * time.Hour
	for name, f := range map[string]storage.TokenFilter{
		"oldest first": {}, "newest first": {Reverse: true}, "by creation": {Order: storage.ByCreated},
		"idle": {IdleSince: ago(90 * day)}, "never used": {NeverUsed: true},
		"prefix of few": {Prefix: "n1234"}, "prefix of many": {Prefix: "n"}, "prefix of an id": {Prefix: "01a7f"},
	} {
		f.Limit = 100
		b.Run("tokens/"+name, func(b *testing.B) { benchRows(b, func() iter.Seq2[storage.Token, error] { return s.Tokens(f) }) })
		b.Run("count/"+name, func(b *testing.B) {
			for b.Loop() {
				must.Get(s.CountTokens(f))(b)
			}
		})
	}
	for name, f := range map[string]storage.UserFilter{
		"by name": {Order: storage.ByName}, "prefix": {Order: storage.ByName, Prefix: "n12"}, "by creation": {Order: storage.ByCreated},
		"by tokens": {Order: storage.ByTokens, Reverse: true}, "by last use": {Order: storage.ByLastUsed},
	} {
		f.Limit, f.StaleSince = 100, ago(90*day)
		b.Run("users/"+name, func(b *testing.B) { benchRows(b, func() iter.Seq2[storage.UserInfo, error] { return s.Users(f) }) })
	}
}

func benchName(n int) string {
	digits := []byte("n000000@example.com")
	for i := 6; n > 0; i-- {
		digits[i] = byte('0' + n%10)
		n /= 10
	}
	return string(digits)
}

func benchRows[T any](b *testing.B, list func() iter.Seq2[T, error]) {
	rows := 0
	for b.Loop() {
		for range must.All(list())(b) {
			rows++
		}
	}
	b.ReportMetric(float64(rows)/float64(b.N), "rows")
}
