package census_test

import (
	"slices"
	"testing"
	"time"

	"gatehouse/storage/census"
	"gatehouse/storage/record"
)

// TestCensus: each token is in one state, and the ends count up to the last millisecond.
func TestCensus(t *testing.T) {
	const now = 1_000_000_000
	for _, c := range []struct {
		what  string
		token record.TokenHead
		owner record.UserState
		want  [4]int // live, expired, suspended, revoked
		ends  []int
	}{
		{"endless", record.TokenHead{}, record.UserActive, [4]int{1, 0, 0, 0}, []int{0, 0}},
		{"ends now", record.TokenHead{Expires: now}, record.UserActive, [4]int{0, 1, 0, 0}, []int{0, 0}},
		{"ends in a moment", record.TokenHead{Expires: now + 1}, record.UserActive, [4]int{1, 0, 0, 0}, []int{1, 1}},
		{"ends within an hour", record.TokenHead{Expires: now + 3_600_000}, record.UserActive, [4]int{1, 0, 0, 0}, []int{1, 1}},
		{"ends after it", record.TokenHead{Expires: now + 3_600_001}, record.UserActive, [4]int{1, 0, 0, 0}, []int{0, 1}},
		{"ends later", record.TokenHead{Expires: now + 7_200_001}, record.UserActive, [4]int{1, 0, 0, 0}, []int{0, 0}},
		{"of a suspended user", record.TokenHead{Expires: now + 1}, record.UserSuspended, [4]int{0, 0, 1, 0}, []int{0, 0}},
		{"of a disabled user", record.TokenHead{}, record.UserDisabled, [4]int{0, 0, 1, 0}, []int{0, 0}},
		{"expired, of a disabled user", record.TokenHead{Expires: 1}, record.UserDisabled, [4]int{0, 1, 0, 0}, []int{0, 0}},
		{"of a removed user", record.TokenHead{}, record.UserRemoved, [4]int{0, 0, 0, 1}, []int{0, 0}},
		{"revoked", record.TokenHead{Revoked: 1, Expires: now + 1}, record.UserActive, [4]int{0, 0, 0, 1}, []int{0, 0}},
	} {
		got := census.New(now, []time.Duration{time.Hour, 2 * time.Hour})
		got.Count(c.token, c.owner)
		if states := [4]int{got.Live, got.Expired, got.Suspended, got.Revoked}; states != c.want || !slices.Equal(got.Ending, c.ends) {
			t.Errorf("%s: got %v and %v, want %v and %v", c.what, states, got.Ending, c.want, c.ends)
		}
	}
}
