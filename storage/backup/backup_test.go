package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse/storage/backup"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
)

var key = [32]byte{1, 31: 2}

// newJournal makes a journal of a few segments.
func newJournal(t *testing.T, dir string) *journal.Journal {
	t.Helper()
	j := must.Get(journal.Open(dir, key, journal.Options{Create: true, SegmentSize: 8 << 10}))(t)
	t.Cleanup(func() { j.Close() })
	for n := range 20 {
		must.Get(j.Append(journal.Essential, []journal.Entry{{Actor: "a", Payload: bytes.Repeat([]byte{byte(n)}, 1000)}}))(t)
	}
	return j
}

// sample writes a snapshot of some operations and, if j is not nil, the
// journal.
func sample(t *testing.T, ops []record.Op, j *journal.Journal, skipped func(error, uint64)) []byte {
	t.Helper()
	m := backup.Manifest{Sequence: 10, Created: 5, Users: 6, Tokens: 7}
	var log *journal.Copy
	if j != nil {
		var err error
		if log, err = j.Copy(); err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		m.Journal = log.End()
	}
	out := new(bytes.Buffer)
	w := must.Get(backup.NewWriter(out, m, []byte("keyring")))(t)
	for _, o := range ops {
		must.Do(t, w.Op(o))
	}
	must.Do(t, w.End(key))
	if log != nil {
		must.Do(t, w.Journal(t.Context(), log, m.Sequence, skipped))
	}
	must.Do(t, w.Flush())
	return out.Bytes()
}

func manyOps() (ops []record.Op) {
	for n := range 600 {
		ops = append(ops, record.Op{Key: fmt.Append(nil, "u", n), Value: bytes.Repeat([]byte{byte(n)}, 1000)})
	}
	return append(ops, record.Op{Key: []byte("gone")})
}

// A reader returns what was written, and can copy it from the first byte on.
func TestReader(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := newJournal(t, dir)
	want := manyOps()
	b := sample(t, want, j, func(err error, _ uint64) { t.Error(err) })
	r := must.Get(backup.Open(bytes.NewReader(b)))(t)
	if string(r.Keyring) != "keyring" || r.Manifest.Users != 6 || !r.Manifest.HasJournal() || r.Manifest.Last() != 20 {
		t.Errorf("got %q, %+v", r.Keyring, r.Manifest)
	}
	copied := new(bytes.Buffer)
	must.Do(t, r.CopyTo(copied))
	var got []record.Op
	chunks := 0
	must.Do(t, r.Records(func(ops []byte) error {
		chunks++
		list, err := record.AllOps(bytes.Clone(ops))
		got = append(got, list...)
		return err
	}))
	r.CopyTo(nil)
	same := func(a, b record.Op) bool { return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) }
	if !slices.EqualFunc(got, want, same) || chunks < 2 {
		t.Errorf("got %d operations in %d chunks, want %d in a few", len(got), chunks, len(want))
	}
	if int64(copied.Len()) != r.Offset() || !bytes.HasPrefix(b, copied.Bytes()) {
		t.Errorf("%d bytes were copied of %d, and are others", copied.Len(), r.Offset())
	}
	must.Do(t, r.Authentic(key))
	if err := r.Authentic([32]byte{}); !errors.As(err, new(*backup.Error)) {
		t.Errorf("with another key: got %v", err)
	}
	to := filepath.Join(t.TempDir(), "journal")
	l := must.Get(journal.NewLayout(to))(t)
	must.Do(t, errors.Join(r.Journal(l.Put, l.Reset), l.Close(), r.AtEnd()))
	again := must.Get(journal.Open(to, key, journal.Options{}))(t)
	defer again.Close()
	if again.End() != j.End() {
		t.Errorf("got a journal to %v, want %v", again.End(), j.End())
	}
}

// small returns a backup so small that a test can change many of its bytes.
func small(t *testing.T) []byte {
	j := must.Get(journal.Open(filepath.Join(t.TempDir(), "journal"), key, journal.Options{Create: true, SegmentSize: 4 << 10}))(t)
	defer j.Close()
	must.Get(j.Append(journal.Essential, []journal.Entry{{Payload: []byte("x")}}))(t)
	return sample(t, manyOps()[:2], j, nil)
}

// No part of a backup can be changed or left out, and nothing can be added.
func TestChanged(t *testing.T) {
	good := small(t)
	if m, err := backup.Check(bytes.NewReader(good)); err != nil || m.Tokens != 7 {
		t.Fatalf("got %+v, %v", m, err)
	}
	wrong := func(what string, b []byte) {
		t.Helper()
		if _, err := backup.Check(bytes.NewReader(b)); !errors.As(err, new(*backup.Error)) {
			t.Errorf("%s: got %v, want a *backup.Error", what, err)
		}
	}
	for at := 0; at < len(good); at += 1 + at/300 {
		b := bytes.Clone(good)
		b[at] ^= 1
		wrong(fmt.Sprintf("byte %d flipped", at), b)
		wrong(fmt.Sprintf("cut to %d bytes", at), good[:at])
	}
	wrong("a byte more", append(bytes.Clone(good), 0))
	wrong("twice", append(bytes.Clone(good), good...))
}

// If the journal is damaged in an old segment, the backup has the records after the
// damage, provided that its operations need no earlier ones.
func TestDamagedLog(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	j := newJournal(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(files) < 4 {
		t.Fatalf("got files %v, %v", files, err)
	}
	b := must.Get(os.ReadFile(files[0]))(t)
	b[700] ^= 1
	must.Do(t, os.WriteFile(files[0], b, 0o600))
	var from uint64
	out := sample(t, nil, j, func(err error, first uint64) {
		if !errors.As(err, new(*journal.CorruptError)) {
			t.Errorf("got %v", err)
		}
		from = first
	})
	if want := j.Segments()[1]; from != want {
		t.Fatalf("it goes on with record %d, want %d", from, want)
	}
	r := must.Get(backup.Open(bytes.NewReader(out)))(t)
	resets := 0
	err = errors.Join(
		r.Records(func([]byte) error { return nil }),
		r.Journal(func(journal.Piece) error { return nil }, func() error { resets++; return nil }),
		r.AtEnd())
	if err != nil || resets != 1 {
		t.Errorf("got %d resets, %v, want 1", resets, err)
	}
}

// full is a writer that accepts so many bytes and then fails.
type full struct{ left int }

var errFull = errors.New("full")

func (f *full) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

// A write error is returned as the writer's error and does not count as damage of the
// journal. When the context ends, Log returns the cause.
func TestLogEnds(t *testing.T) {
	j := newJournal(t, filepath.Join(t.TempDir(), "journal"))
	log, err := j.Copy()
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	skipped := func(err error, _ uint64) { t.Errorf("skipped: %v", err) }
	w := must.Get(backup.NewWriter(&full{}, backup.Manifest{Journal: log.End()}, make([]byte, 1<<20-2000)))(t)
	if err := w.Journal(t.Context(), log, 0, skipped); !errors.Is(err, errFull) || errors.As(err, new(*journal.CorruptError)) {
		t.Errorf("got %v, want %v", err, errFull)
	}
	why := errors.New("the store is closed")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(why)
	if w, err = backup.NewWriter(new(bytes.Buffer), backup.Manifest{Journal: log.End()}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Journal(ctx, log, 0, skipped); !errors.Is(err, why) {
		t.Errorf("got %v, want %v", err, why)
	}
}
