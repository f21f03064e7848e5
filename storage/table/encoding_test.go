package table

import (
	"crypto/sha256"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

// The file is written as the store's format says. TestEncodings of package
// storage explains what is compared here.
func TestEncodings(t *testing.T) {
	used := record.UsedAt(1 << 40)
	tab := New()
	tab.Owners.Set(record.Owner{ID: 3, Epoch: 3, State: record.UserDisabled, UID: "alice@example.com"})
	tab.Load(Entry{ID: keys.ID{1, 2, 13: 3}, Generation: 4, Flags: 1, Owner: 6, Used: used})
	b := must.Get(os.ReadFile("../testdata/format3/encodings"))(t)
	want := strings.Split(string(b), "\n")
	for name, b := range map[string][]byte{
		"table-owners": tab.Owners.appendTo(nil),
		"table-shard":  tab.shards[2].appendTo(nil),
	} {
		if line := fmt.Sprintf("%s %x", name, sha256.Sum256(b)); !slices.Contains(want, line) {
			t.Errorf("this was not written so: %s", line)
		}
	}
}
