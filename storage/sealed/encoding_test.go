package sealed

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/journal"
	"gatehouse/storage/storagetest/must"
)

// Head and seals of the table's file are as the store's format says. TestEncodings of
// package storage explains what is compared here.
func TestEncodings(t *testing.T) {
	moment := Moment{Position: journal.Position{Sequence: 9, Hash: [32]byte{4, 31: 5}}, Uses: 5}
	head := moment.append([]byte("GATEHOUSE TABLE 3\n"))
	if former := head[len(head)-16:]; string(former) != string(make([]byte, 16)) {
		t.Errorf("got %x at the end, want zeros", former)
	}
	binary.BigEndian.PutUint64(head[len(head)-16:], 6) // as earlier versions wrote it
	binary.BigEndian.PutUint64(head[len(head)-8:], 7)
	form := Form{Kind: 'T'}
	if got := string(form.headKey()); got != "T head" {
		t.Errorf("the head is sealed under %q", got)
	}
	b := must.Get(os.ReadFile("../testdata/format3/encodings"))(t)
	want := strings.Split(string(b), "\n")
	for name, b := range map[string][]byte{"table-head": head, "table-part": form.partKey(moment, 3)} {
		if line := fmt.Sprintf("%s %x", name, sha256.Sum256(b)); !slices.Contains(want, line) {
			t.Errorf("this was not written so: %s", line)
		}
	}
}
