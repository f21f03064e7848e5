package checkpoint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"gatehouse/storage/backup"
	"gatehouse/storage/checkpoint"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/index/indextest"
	"gatehouse/storage/journal"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
)

var (
	key   = [32]byte{5}
	seals = keys.Ring{Root: [32]byte{1}}.Seals()
	alice = record.User{ID: 7, UID: "alice@example.com", Source: "local"}
	token = record.Token{ID: keys.ID{1, 2}, Owner: alice.ID, Created: 1000, LastUsed: 1000}
)

// fixture is what a snapshot is made of, without a store.
type fixture struct {
	*indextest.Index
	checkpoint.Source
	owned int
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{Index: indextest.New(t, seals)}
	keyring := filepath.Join(t.TempDir(), "keyring")
	must.Do(t, os.WriteFile(keyring, []byte("a keyring"), 0o600))
	f.Source = checkpoint.Source{
		Keyring: keyring, Key: key, Seals: seals, Table: table.New(),
		View: f.Index.View, Counts: f.CountsOp, Now: func() int64 { return 1 << 40 },
		Owned:   func([]byte) { f.owned++ },
		Skipped: func(damage error, _ uint64) { t.Errorf("skipped: %v", damage) },
	}
	user := must.Get(alice.Value())(t)
	value := must.Get(token.Value())(t)
	f.Put(record.Op{Key: record.UserKey(alice.ID), Value: user}, record.Op{Key: record.NameKey(alice.UID), Value: alice.ID.Bytes()})
	f.Put(record.Op{Key: record.TokenKey(token.ID), Value: value}, record.Op{Key: token.OwnedKey(), Value: []byte{}})
	used := record.UsageRecord{Used: record.UsedAt(2000)}
	f.Put(record.Op{Key: record.UsageKey(token.ID), Value: used.Value()})
	f.Table.Put(table.Entry{ID: token.ID, Owner: f.Table.Owners.Set(record.Owner{ID: alice.ID}), Used: record.UsedAt(2000)})
	return f
}

// write writes a checkpoint to a file.
func (f *fixture) write(t *testing.T) (checkpoint.File, backup.Manifest) {
	t.Helper()
	var out bytes.Buffer
	m := must.Get(f.WriteCheckpoint(t.Context(), &out))(t)
	file := checkpoint.File{
		Path: filepath.Join(t.TempDir(), "checkpoint"), Key: key,
		Has:  func(journal.Position) error { return nil },
		Stop: func() error { return nil },
	}
	must.Do(t, os.WriteFile(file.Path, out.Bytes(), 0o600))
	return file, m
}

// put returns the operations of a checkpoint.
func put(f checkpoint.File) (ops map[string][]byte, sequence uint64, err error) {
	ops = map[string][]byte{}
	sequence, err = f.Put(func(o record.Op) error { ops[string(o.Key)] = bytes.Clone(o.Value); return nil })
	return ops, sequence, err
}

// A checkpoint has all records of the index, and their counts.
func TestPut(t *testing.T) {
	f := start(t)
	file, m := f.write(t)
	if m.Users != 1 || m.Tokens != 1 || m.Created != 1<<40 || m.HasJournal() || f.owned != 1 || file.Last() != m {
		t.Errorf("got %+v, the file has %+v, %d keys of tokens", m, file.Last(), f.owned)
	}
	ops, sequence, err := put(file)
	if err != nil || sequence != m.Position.Sequence || len(ops) != 6 {
		t.Errorf("got %d operations up to record %d, %v", len(ops), sequence, err)
	}
	for _, k := range [][]byte{record.UserKey(alice.ID), record.TokenKey(token.ID), record.UsageKey(token.ID)} {
		if _, err := seals.Open(k, ops[string(k)]); err != nil {
			t.Errorf("%q: %v", k, err)
		}
	}
	if err := file.Completes(9); err != nil {
		t.Errorf("got %v", err)
	}
}

// Nothing is put from a checkpoint that is damaged, or that is not of this store.
func TestPutRefuses(t *testing.T) {
	good, _ := start(t).write(t)
	whole := must.Get(os.ReadFile(good.Path))(t)
	elsewhere := errors.New("the log has another record there")
	stopped := errors.New("stopped")
	type harm func(f *checkpoint.File) []byte
	cases := map[string]harm{
		"empty":           func(*checkpoint.File) []byte { return []byte{} },
		"not there":       func(*checkpoint.File) []byte { return nil },
		"without its end": func(*checkpoint.File) []byte { return whole[:len(whole)-1] },
		"with more":       func(*checkpoint.File) []byte { return append(bytes.Clone(whole), 0) },
		"another key":     func(f *checkpoint.File) []byte { f.Key = [32]byte{6}; return whole },
		"another log": func(f *checkpoint.File) []byte {
			f.Has = func(journal.Position) error { return elsewhere }
			return whole
		},
		"interrupted": func(f *checkpoint.File) []byte { f.Stop = func() error { return stopped }; return whole },
	}
	for at := 0; at < len(whole); at += 1 + len(whole)/40 {
		b := bytes.Clone(whole)
		b[at] ^= 1
		cases[fmt.Sprint("a flipped bit at ", at)] = func(*checkpoint.File) []byte { return b }
	}
	for name, harm := range cases {
		t.Run(name, func(t *testing.T) {
			f := good
			f.Path = filepath.Join(t.TempDir(), "checkpoint")
			if b := harm(&f); b != nil {
				must.Do(t, os.WriteFile(f.Path, b, 0o600))
			}
			ops, _, err := put(f)
			if err == nil || len(ops) > 0 {
				t.Errorf("got %d operations, %v", len(ops), err)
			}
			if err := f.Completes(9); !errors.Is(err, disk.ErrDamaged) {
				t.Errorf("instead of the log before record 9: got %v", err)
			}
		})
	}
}

// A snapshot is not made of an index that has lost or damaged records.
func TestWriteRefuses(t *testing.T) {
	for name, harm := range map[string]func(f *fixture){
		"a damaged record": func(f *fixture) { f.Spoil(record.UserKey(alice.ID), []byte("alice")) },
		"one too many":     func(f *fixture) { f.Spoil(record.NameKey("eve"), alice.ID.Bytes()) },
		"one is lost": func(f *fixture) {
			must.Do(t, f.Update(1<<10, func(u *index.Update) error { return u.Delete(token.OwnedKey()) }))
		},
	} {
		f := start(t)
		harm(f)
		if m, err := f.WriteCheckpoint(t.Context(), new(bytes.Buffer)); !errors.Is(err, disk.ErrDamaged) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
	f := start(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(disk.ErrClosed)
	if _, err := f.WriteCheckpoint(ctx, new(bytes.Buffer)); !errors.Is(err, disk.ErrClosed) {
		t.Errorf("the store closes: got %v", err)
	}
	f.Keyring += "-gone"
	if _, err := f.WriteCheckpoint(t.Context(), new(bytes.Buffer)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a keyring: got %v", err)
	}
}

// A backup has the log, and the uses that only the table has.
func TestBackup(t *testing.T) {
	f := start(t)
	log := must.Get(journal.Open(filepath.Join(t.TempDir(), "journal"), [32]byte{2}, journal.Options{Create: true, SegmentSize: 8 << 10}))(t)
	defer log.Close()
	f.Journal = log
	payload := must.Get(record.Entry{}.AppendPayload(nil))(t)
	for range 4 {
		must.Get(log.Append(journal.Essential, []journal.Entry{{Payload: payload}}))(t)
	}
	e, _, _ := f.Table.Get(token.ID)
	f.Table.Touch(token.ID, e.Slot, 3000, record.Origin{})
	var out bytes.Buffer
	m, err := f.WriteBackup(t.Context(), &out)
	if err != nil || m.Journal != log.End() {
		t.Fatalf("got %+v, %v", m, err)
	}
	if got, err := backup.Check(bytes.NewReader(out.Bytes())); err != nil || got != m {
		t.Errorf("it has %+v, %v, want %+v", got, err, m)
	}
	r := must.Get(backup.Open(&out))(t)
	var used record.LastUse
	err = r.Records(func(ops []byte) error {
		_, err := record.EachOp(ops, func(o record.Op) error {
			if !bytes.Equal(o.Key, record.UsageKey(token.ID)) {
				return nil
			}
			b, err := seals.Open(o.Key, o.Value)
			used = record.ParseLastUse(b)
			return err
		})
		return err
	})
	if err != nil || used != record.UsedAt(3000) {
		t.Errorf("got the last use %v, %v, want %v", used, err, record.UsedAt(3000))
	}
}
