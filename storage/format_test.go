package storage_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/index"
	"gatehouse/storage/marks"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// The directory of a format in testdata has stores that the released program of
// that format made, and a backup. All are from one installation, with times in
// 2026.
//
//	clean.tar.gz     after a stop
//	killed.tar.gz    after a kill: the checkpoint and the table that it left are
//	                 behind, and uses are in their log
//	restored.tar.gz  the backup, restored without the key, never opened
//	backup           what Snapshot wrote before the last changes
//	want.json        what was in the store when it was stopped, or killed
//
// They are never made again: they represent the stores that people have.

// formerStore is what was in such a store.
type formerStore struct {
	Now     int64
	Last    uint64 // the last record of the journal
	Events  int
	Tokens  []formerToken
	Users   map[string]storage.UserState
	Files   map[string][]storage.File // by uid
	Cookies map[string]string         // by uid
}

type formerToken struct {
	UID, ID, Secret string
	Late            bool // made after the backup
	Live            bool
	LastUsed, Uses  int64
}

func formerOf(t *testing.T) (v formerStore) {
	t.Helper()
	b := must.Get(os.ReadFile(filepath.Join("testdata", "format"+marks.FormerFormat, "want.json")))(t)
	must.Do(t, json.Unmarshal(b, &v))
	return v
}

// options returns options with the clock one second after the store's last
// moment.
func (v formerStore) options(t *testing.T) storage.Options {
	opts := timed(t, newClock())
	opts.Segment = 32 << 10 // the size of the archived stores
	opts.Now = func() time.Time { return time.UnixMilli(v.Now + 1000) }
	return opts
}

// unpack makes a data directory from an archive in testdata.
func unpack(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "data")
	f := must.Get(os.Open(filepath.Join("testdata", "format"+marks.FormerFormat, name+".tar.gz")))(t)
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err == nil {
		err = os.Mkdir(dir, 0o700)
	}
	r := tar.NewReader(z)
	for err == nil {
		var h *tar.Header
		if h, err = r.Next(); err != nil {
			break
		}
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.Mkdir(to, 0o700)
			continue
		}
		var b []byte
		if b, err = io.ReadAll(r); err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return dir
}

// wantFormer compares a store with what was in it. If whole is not set, the
// store comes from a backup, which lacks the last changes and has no sessions:
// then it compares less.
func wantFormer(t *testing.T, s *storage.Store, v formerStore, whole bool) {
	t.Helper()
	<-s.Counted()
	for _, tok := range v.Tokens {
		if tok.Late && !whole {
			continue
		}
		if b, err := s.Inspect(tok.Secret, home.Address); tok.Live && whole && (err != nil || b.UID != tok.UID) {
			t.Errorf("token %s of %s: got %+v, %v, want it live", tok.ID, tok.UID, b, err)
		} else if !tok.Live && whole && !errors.Is(err, storage.ErrRefused) {
			t.Errorf("token %s of %s: got %v, want it refused", tok.ID, tok.UID, err)
		}
		id := must.Get(storage.ParseID(tok.ID))(t)
		got, err := s.Token(id)
		if err != nil || whole && (got.LastUsed != tok.LastUsed || got.Usage.Uses != tok.Uses) {
			t.Errorf("token %s: got %d uses, the last at %d, %v, want %d, %d", tok.ID, got.Usage.Uses, got.LastUsed, err, tok.Uses, tok.LastUsed)
		}
	}
	states := map[string]storage.UserState{}
	for n := range uint32(s.Table().Owners.Len()) {
		o := s.Table().Owners.At(n)
		states[o.UID] = o.State
	}
	if whole && !maps.Equal(states, v.Users) || !whole && len(states) != len(v.Users) {
		t.Errorf("users: got %v, want %v", states, v.Users)
	}
	for uid, want := range v.Files {
		u := must.Get(s.User(uid))(t)
		got, err := s.Files().List(u.ID)
		same := slices.EqualFunc(got, want, func(a, b storage.File) bool {
			return bytes.Equal(a.ID, b.ID) && bytes.Equal(a.Revision, b.Revision) && a.Name == b.Name && a.Path == b.Path && a.Time == b.Time
		})
		if err != nil || whole && !same || len(got) == 0 {
			t.Errorf("recent files of %s: got %+v, %v, want %+v", uid, got, err, want)
		}
	}
	if !whole {
		return
	}
	for uid, cookie := range v.Cookies {
		if got, err := s.Session(cookie); err != nil || got.UID != uid {
			t.Errorf("the session of %s: got %+v, %v", uid, got, err)
		}
	}
	events := 0
	for e := range must.All(s.Audit().Events(t.Context(), 0))(t) {
		if e.Sequence <= v.Last {
			events++
		}
	}
	if events != v.Events {
		t.Errorf("got %d events, want %d", events, v.Events)
	}
	if err := s.Audit().VerifyChain(t.Context()); err != nil {
		t.Error(err)
	}
}

// Stores of an earlier format open with all that is in them, at each start.
func TestFormerFormats(t *testing.T) {
	v := formerOf(t)
	for _, name := range []string{"clean", "killed", "restored"} {
		for how, early := range map[string]bool{"at once": false, "early": true} {
			t.Run(name+"/"+how, func(t *testing.T) {
				dir, opts := unpack(t, name), v.options(t)
				opts.Early = early
				for range 2 {
					s := openWith(t, dir, opts)
					must.Do(t, s.Opened(t.Context()))
					wantFormer(t, s, v, name != "restored")
					must.Do(t, s.Index().Compare())
					must.Do(t, s.Close())
				}
			})
		}
	}
}

// Backups of an earlier format can be restored with all that is in them.
func TestFormerBackup(t *testing.T) {
	v := formerOf(t)
	dir := t.TempDir()
	for _, name := range []string{"key", "backup"} {
		b := must.Get(os.ReadFile(filepath.Join("testdata", "format"+marks.FormerFormat, name)))(t)
		must.Do(t, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	f := must.Get(os.Open(filepath.Join(dir, "backup")))(t)
	defer f.Close()
	must.Get(storage.Restore(t.Context(), f, dir, v.options(t)))(t)
	s := openWith(t, dir, v.options(t))
	wantFormer(t, s, v, false)
}

// contents returns the bytes of all files, except the lock and the files that a
// start removes.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, name := range files(t, dir) {
		b := must.Get(os.ReadFile(filepath.Join(dir, name)))(t)
		if name != "lock" {
			all[name] = string(b)
		}
	}
	return all
}

// A store of an unknown format is refused, the error names the format, and
// nothing in the store changes.
func TestUnknownFormat(t *testing.T) {
	for _, number := range []string{"1", "4", "17", "", "1 and a half"} {
		dir := unpack(t, "killed")
		must.Do(t, os.WriteFile(filepath.Join(dir, "store", "format"), []byte(number+"\n"), 0o600))
		before := contents(t, dir)
		_, err := storage.Open(dir, formerOf(t).options(t))
		if err == nil || !strings.Contains(err.Error(), strconv.Quote(number)) || !strings.Contains(err.Error(), "use the program that made it") {
			t.Errorf("format %q: got %v", number, err)
		}
		if after := contents(t, dir); !maps.Equal(before, after) {
			t.Errorf("format %q: files were changed", number)
		}
	}
}

// A store is also refused if its records have a form that this program can't
// read, for example because a program in between has changed the form without a
// new number. The journal and the format stay as they were: the program that made
// the store can open it again.
func TestUnknownRecords(t *testing.T) {
	storagetest.Slow(t)
	v := formerOf(t)
	id := must.Get(storage.ParseID(v.Tokens[0].ID))(t)
	for name, k := range map[string][]byte{
		"token":       record.TokenKey(id),
		"another key": append(record.TokenKey(id), 1),
		"usage":       record.UsageKey(id),
		"session":     record.SessionKey("another"),
		"user":        record.UserKey(7),
	} {
		t.Run(name, func(t *testing.T) {
			dir := unpack(t, "clean")
			s := openWith(t, copyDir(t, dir), v.options(t)) // for the keys
			x := index.New(index.Options{Dir: filepath.Join(dir, "store"), Seals: s.Opening().Seals, Space: s.Disk(), Log: slog.New(slog.DiscardHandler)})
			must.Get(x.Open())(t)
			err := x.Write(1, func(u *index.Update) error { return u.Put(k, []byte("a form of tomorrow"), 0) })
			if err = errors.Join(err, x.Close(time.Now().Add(patience))); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			for range 2 {
				_, err = storage.Open(dir, v.options(t))
				if err == nil || !strings.Contains(err.Error(), "use the program that made it") || !strings.Contains(err.Error(), fmt.Sprintf("%q", k)) {
					t.Fatalf("got %v", err)
				}
			}
			after := contents(t, dir)
			for name, b := range before {
				if after[name] != b && !strings.HasPrefix(name, "store/index/") {
					t.Errorf("%s was changed", name)
				}
			}
		})
	}
}
