package storage_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/backup"
	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
	"gatehouse/storage/restore"
	"gatehouse/storage/storagetest/must"
)

func eventsOf(t *testing.T, s *storage.Store) (list []string) {
	t.Helper()
	for e := range must.All(s.Audit().Events(t.Context(), 0))(t) {
		list = append(list, fmt.Sprint(e.Sequence, " ", e.Time, " ", e.Actor, " ", e.Action, " ", e.UID, e.Token))
	}
	return list
}

// An audit log of many segments comes back unchanged after pruning and a restore, and
// goes on.
func TestBackupHasTheLog(t *testing.T) {
	dir, opts := t.TempDir(), storage.Options{Segment: 8 << 10}
	s := openWith(t, dir, opts)
	alice := addUser(t, s, "alice@example.com")
	for range 30 {
		create(t, s, alice)
	}
	must.Do(t, s.Checkpoint(t.Context()))
	must.Get(s.Journal().Prune(time.UnixMilli(1<<50), 0, s.Journal().LastSequence()/2))(t)
	id, secret := create(t, s, alice)
	want, v := eventsOf(t, s), must.Get(s.Audit().Verify(t.Context(), ""))(t)
	if v.First == 1 || len(s.Journal().Segments()) < 2 {
		t.Fatalf("this test tests nothing: %+v", v)
	}
	backup := backupOf(t, s)
	must.Get(s.RevokeTokens(admin, id))(t)
	s.Close()
	for name, to := range map[string]string{"over the store": dir, "elsewhere": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			if to != dir { // the key comes later here
				restoreTo(t, backup, to, opts)
				put(t, filepath.Join(to, "key"), must.Get(os.ReadFile(filepath.Join(dir, "key")))(t), 0o600)
			} else {
				restoreTo(t, backup, to, opts)
			}
			for range 2 {
				s := openWith(t, to, opts)
				if got := eventsOf(t, s); len(got) < len(want) || strings.Join(got[:len(want)], "\n") != strings.Join(want, "\n") {
					t.Errorf("got %q, want it to begin with %q", got, want)
				}
				again, err := s.Audit().Verify(t.Context(), v.End)
				if err != nil || again.First != v.First {
					t.Errorf("got %+v, %v, want a log from record %d with %s", again, err, v.First, v.End)
				}
				if to == dir {
					wantDead(t, s, secret)
				} else {
					wantLive(t, s, secret)
				}
				u := must.Get(s.User(alice.UID))(t)
				create(t, s, u)
				s.Close()
			}
		})
	}
}

const firstLine = "GATEHOUSE SNAPSHOT 2\n"

// chunkOf is a chunk of a backup, without its checksum.
type chunkOf struct {
	kind byte
	data []byte
}

func partsOf(t *testing.T, backup []byte) (list []chunkOf) {
	t.Helper()
	for b := backup[len(firstLine):]; len(b) > 0; {
		n := int(binary.BigEndian.Uint32(b))
		b = b[36:]
		list = append(list, chunkOf{b[0], b[1:n]})
		b = b[n:]
	}
	return list
}

func joined(list []chunkOf) []byte {
	out, sum := []byte(firstLine), [sha256.Size]byte{}
	for _, p := range list {
		payload := append([]byte{p.kind}, p.data...)
		sum = sha256.Sum256(append(sum[:], payload...))
		out = binary.BigEndian.AppendUint32(out, uint32(len(payload)))
		out = append(append(out, sum[:]...), payload...)
	}
	return out
}

// A backup that is combined from several is refused, and the directory stays as it
// was. With the key the restore refuses it; without the key the first start does.
func TestBackupOfParts(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, alice)
	wantLive(t, s, secret)
	older := partsOf(t, backupOf(t, s))
	must.Get(s.RevokeTokens(admin, id))(t)
	newer := partsOf(t, backupOf(t, s))
	s.Close()
	key := must.Get(os.ReadFile(filepath.Join(dir, "key")))(t)
	if len(older) != len(newer) {
		t.Fatalf("got backups of %d and %d parts", len(older), len(newer))
	}
	for n := range older {
		if bytes.Equal(older[n].data, newer[n].data) {
			continue // the keyring
		}
		for name, list := range map[string][]chunkOf{
			"alone":        append(append(append([]chunkOf{}, newer[:n]...), older[n]), newer[n+1:]...),
			"and before":   append(append([]chunkOf{}, older[:n+1]...), newer[n+1:]...),
			"and missing":  append(append([]chunkOf{}, newer[:n]...), newer[n+1:]...),
			"and repeated": append(append(append([]chunkOf{}, newer[:n+1]...), older[n]), newer[n+1:]...),
		} {
			if name == "and before" && slices.EqualFunc(older[n+1:], newer[n+1:], func(a, b chunkOf) bool { return bytes.Equal(a.data, b.data) }) {
				continue // this is just the older backup
			}
			backup := joined(list)
			t.Run(fmt.Sprintf("part %d, %c, %s", n, older[n].kind, name), func(t *testing.T) {
				at := copyDir(t, dir)
				before := files(t, at)
				_, err := storage.Restore(t.Context(), bytes.NewReader(backup), at, storage.Options{})
				if err == nil {
					t.Fatal("it is restored")
				}
				if after := files(t, at); strings.Join(before, " ") != strings.Join(after, " ") {
					t.Errorf("the directory had %q, and has %q", before, after)
				}
				to := t.TempDir()
				if _, err := storage.Restore(t.Context(), bytes.NewReader(backup), to, storage.Options{}); err != nil {
					return
				}
				put(t, filepath.Join(to, "key"), key, 0o600)
				if s, err := storage.Open(to, storage.Options{}); err == nil {
					wantDead(t, s, secret) // it has all of the newer log, which is authentic
					s.Close()
				}
			})
		}
	}
}

// If the log is damaged in an old segment, a backup has the records after the
// damage.
func TestBackupOfADamagedLog(t *testing.T) {
	dir, opts := t.TempDir(), storage.Options{Segment: 8 << 10}
	s := openWith(t, dir, opts)
	alice := addUser(t, s, "alice@example.com")
	for range 40 {
		create(t, s, alice)
	}
	segments := s.Journal().Segments()
	file := matching(t, dir, "store/journal/*.seg")[1]
	b := must.Get(os.ReadFile(file))(t)
	b[700] ^= 1
	must.Do(t, os.WriteFile(file, b, 0o600))
	backup := backupOf(t, s)
	s.Close()
	to := t.TempDir()
	put(t, filepath.Join(to, "key"), must.Get(os.ReadFile(filepath.Join(dir, "key")))(t), 0o600)
	restoreTo(t, backup, to, opts)
	s = openWith(t, to, opts)
	v, err := s.Audit().Verify(t.Context(), "")
	if err != nil || v.First != segments[2] {
		t.Errorf("got %+v, %v, want a log from record %d", v, err, segments[2])
	}
}

// A backup has each use that was answered before the backup, although the backup
// brings nothing into the index.
func TestBackupHasUses(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	opts := timed(t, clock)
	s := openWith(t, dir, opts)
	alice := addUser(t, s, "alice@example.com")
	_, never := create(t, s, alice)
	id, secret := create(t, s, alice)
	clock.Move(time.Hour)
	for range 3 {
		wantLive(t, s, secret)
	}
	want := must.Get(s.Token(id))(t)
	backup := backupOf(t, s)
	s.Close()
	restoreTo(t, backup, dir, opts)
	s = openWith(t, dir, opts)
	got, err := s.Token(id)
	if err != nil || got.LastUsed != want.LastUsed || got.Usage.Uses != 3 || len(got.Usage.Seen) != 1 {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	wantLive(t, s, never)
}

// A restore that is interrupted at any moment leaves the directory as it was. The
// next start, or the next restore, removes what a killed restore has left.
func TestRestoreInterrupted(t *testing.T) {
	dir, opts := t.TempDir(), storage.Options{}
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	backup := backupOf(t, s)
	var ids []storage.ID
	for range 300 {
		id, _ := create(t, s, alice)
		ids = append(ids, id)
	}
	second := backupOf(t, s)
	must.Get(s.RevokeTokens(admin, ids...))(t)
	s.Close()
	steps := map[string]bool{}
	for range 3 { // each possible moment once
		for _, b := range [][]byte{backup, second} {
			before := contents(t, dir)
			ctx, cancel := context.WithCancel(t.Context())
			opts.Progress = func(step string, done, of int) {
				if !steps[step] {
					steps[step] = true
					cancel()
				}
			}
			_, err := storage.Restore(ctx, bytes.NewReader(b), dir, opts)
			cancel()
			if err == nil {
				t.Fatalf("nothing interrupted it: %v", steps)
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("after %v: got %v", steps, err)
			}
			after := contents(t, dir)
			for name, b := range before {
				if after[name] != b {
					t.Errorf("after %v: %s has changed", steps, name)
				}
			}
			if len(after) != len(before) {
				t.Errorf("after %v: there are %d files, and were %d", steps, len(after), len(before))
			}
			if len(steps) == 3 {
				goto done
			}
		}
	}
done:
	if len(steps) < 3 {
		t.Errorf("it was interrupted at %v", steps)
	}
	rest := filepath.Join(restore.Stage(dir), "store", "index")
	for what, next := range map[string]func(){
		"start":   func() { open(t, dir).Close() },
		"restore": func() { restoreTo(t, second, dir, storage.Options{}) },
	} {
		must.Do(t, os.MkdirAll(rest, 0o700))
		if next(); disk.Exists(restore.Stage(dir)) {
			t.Errorf("the next %s has left it", what)
		}
	}
}

// The journal of a backup may end later than its records, for example while the index
// is behind on a full disk. It then has the revocations of that time.
func TestBackupWhileBehind(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	alice := addUser(t, s, "alice@example.com")
	id, secret := create(t, s, alice)
	_, live := create(t, s, alice)
	full := shortOf(s)
	full.Store(true)
	must.Happen(t, "a short disk", func() bool { return s.Disk().Short() != nil })
	must.Get(s.RevokeTokens(admin, id))(t)
	if s.Index().Behind() == nil {
		t.Fatal("the index is not behind")
	}
	made := backupOf(t, s)
	m, err := backup.Check(bytes.NewReader(made))
	if err != nil || m.Journal != s.Journal().End() || m.Journal == (journal.Position{}) || m.Sequence >= m.Last() {
		t.Errorf("got %+v, %v, want a log to %v", m, err, s.Journal().End())
	}
	full.Store(false) // otherwise the store can't be closed
	to := t.TempDir()
	put(t, filepath.Join(to, "key"), must.Get(os.ReadFile(filepath.Join(dir, "key")))(t), 0o600)
	restoreTo(t, made, to, storage.Options{})
	s = open(t, to)
	wantDead(t, s, secret)
	wantLive(t, s, live)
}
