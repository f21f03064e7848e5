package table

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
)

// The file is written as the store's format says. TestEncodings of package
// storage explains what is compared here.
func TestEncodings(t *testing.T) {
	used := record.UsedAt(1 << 40)
	moment := Moment{Position: journal.Position{Sequence: 9, Hash: [32]byte{4, 31: 5}}, Uses: 5}
	head := moment.append([]byte(magic))
	if former := head[len(head)-16:]; string(former) != string(make([]byte, 16)) {
		t.Errorf("got %x at the end, want zeros", former)
	}
	binary.BigEndian.PutUint64(head[len(head)-16:], 6) // as earlier versions wrote it
	binary.BigEndian.PutUint64(head[len(head)-8:], 7)
	tab := New()
	tab.Owners.Set(record.Owner{ID: 3, Epoch: 3, State: record.UserDisabled, UID: "alice@example.com"})
	tab.Load(Entry{ID: keys.ID{1, 2, 13: 3}, Generation: 4, Flags: 1, Owner: 6, Used: used})
	b, err := os.ReadFile("../testdata/format3/encodings")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(b), "\n")
	for name, b := range map[string][]byte{
		"table-head":   head,
		"table-owners": tab.Owners.appendTo(nil),
		"table-part":   partKey(moment, 3),
		"table-shard":  tab.shards[2].appendTo(nil),
	} {
		if line := fmt.Sprintf("%s %x", name, sha256.Sum256(b)); !slices.Contains(want, line) {
			t.Errorf("this was not written so: %s", line)
		}
	}
}
