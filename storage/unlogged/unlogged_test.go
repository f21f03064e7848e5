package unlogged_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/index/indextest"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/unlogged"
)

// fixture is an index without a store. While refused is set, nothing can be written
// to it.
type fixture struct {
	*indextest.Index
	clock   *storagetest.Clock
	refused error
}

func (f *fixture) Writable() error { return f.refused }

func (f *fixture) Update(fn func(*index.Update) error) error {
	if f.refused != nil {
		return f.refused
	}
	return f.Index.Update(1<<10, fn)
}

func create(t *testing.T) *fixture {
	t.Helper()
	return &fixture{
		Index: indextest.New(t, keys.Ring{}.Seals()),
		clock: storagetest.NewClock(time.UnixMilli(1_800_000_000_000)),
	}
}

const alice, bob = record.UserID(1), record.UserID(2)

// sessions returns the sessions of two users; owners has their current states.
func (f *fixture) sessions(t *testing.T, owners map[record.UserID]record.Owner) *unlogged.Sessions {
	owners[alice] = record.Owner{ID: alice, UID: "alice@example.com"}
	owners[bob] = record.Owner{ID: bob, UID: "bob@example.com"}
	return &unlogged.Sessions{
		Index: f, Now: f.clock.Milli,
		Owner: func(id record.UserID) (record.Owner, bool) { o, ok := owners[id]; return o, ok },
		Unsaved: func(err error) {
			if err != nil {
				t.Error(err)
			}
		},
	}
}

func begin(t *testing.T, s *unlogged.Sessions, v record.Session) string {
	t.Helper()
	cookie := must.Get(s.Begin(v))(t)
	return cookie.Reveal()
}

func wantSession(t *testing.T, s *unlogged.Sessions, cookie string, good bool) {
	t.Helper()
	v, err := s.Visit(cookie)
	if good && (err != nil || v.UID == "") || !good && !errors.Is(err, unlogged.ErrNoSession) {
		t.Errorf("got %+v, %v, want it good: %t", v, err, good)
	}
}

// TestSessionLasts: a session has a limit after the last visit and a limit in all, and
// ends with its user.
func TestSessionLasts(t *testing.T) {
	const idle, life = unlogged.SessionIdle, unlogged.SessionLife
	owners := map[record.UserID]record.Owner{}
	for name, fn := range map[string]func(f *fixture, s *unlogged.Sessions, want func(bool)){
		"idle": func(f *fixture, _ *unlogged.Sessions, want func(bool)) {
			f.clock.Move(idle - time.Millisecond)
			want(true)
			f.clock.Move(idle - time.Millisecond) // counted from the visit
			want(true)
			f.clock.Move(idle)
			want(false)
		},
		"absolute end": func(f *fixture, _ *unlogged.Sessions, want func(bool)) {
			for left := life; left > 0; left -= idle / 2 {
				want(true)
				f.clock.Move(idle / 2)
			}
			want(false)
		},
		"a visit is not yet written": func(f *fixture, _ *unlogged.Sessions, want func(bool)) {
			f.clock.Move(time.Minute - time.Millisecond)
			want(true)
			f.clock.Move(idle - time.Minute + time.Millisecond)
			want(false) // at most a minute too early
		},
		"made by a clock that was ahead": func(f *fixture, _ *unlogged.Sessions, want func(bool)) {
			f.clock.Move(-idle)
			want(true)
			f.clock.Move(-time.Millisecond)
			want(false)
		},
		"its user is disabled": func(_ *fixture, _ *unlogged.Sessions, want func(bool)) {
			owners[alice] = record.Owner{ID: alice, UID: "alice@example.com", State: record.UserDisabled}
			want(false)
		},
		"its user ended all sessions": func(_ *fixture, _ *unlogged.Sessions, want func(bool)) {
			owners[alice] = record.Owner{ID: alice, UID: "alice@example.com", Epoch: 1}
			want(false)
		},
		"its user is gone": func(_ *fixture, _ *unlogged.Sessions, want func(bool)) {
			delete(owners, alice)
			want(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := create(t)
			s := f.sessions(t, owners)
			cookie := begin(t, s, record.Session{Owner: alice})
			wantSession(t, s, cookie, true)
			wantSession(t, s, cookie+"x", false)
			fn(f, s, func(good bool) { t.Helper(); wantSession(t, s, cookie, good) })
		})
	}
}

// TestListSessions: a list has a user's own valid sessions, the latest first.
func TestListSessions(t *testing.T) {
	f, owners := create(t), map[record.UserID]record.Owner{}
	s := f.sessions(t, owners)
	next := func(owner record.UserID, address string) string {
		cookie := begin(t, s, record.Session{Owner: owner, Address: address})
		f.clock.Move(time.Minute)
		return cookie
	}
	want := func(cookie string, own int, addresses ...string) {
		t.Helper()
		list, at := must.Get2(s.List(alice, cookie))(t)
		var got []string
		for _, v := range list {
			got = append(got, v.Address)
			if v.UID != "alice@example.com" || v.Created == 0 || v.Seen < v.Created {
				t.Errorf("got %+v", v)
			}
		}
		if !slices.Equal(got, addresses) || at != own {
			t.Errorf("got %q, own %d, want %q, own %d", got, at, addresses, own)
		}
	}
	want("", -1)
	first := next(alice, "192.0.2.1")
	next(bob, "192.0.2.9")
	second := next(alice, "192.0.2.2")
	third := next(alice, "192.0.2.3")
	want(third, 0, "192.0.2.3", "192.0.2.2", "192.0.2.1")
	want(first, 2, "192.0.2.3", "192.0.2.2", "192.0.2.1")
	must.Do(t, s.End(second, nil))
	want(second, -1, "192.0.2.3", "192.0.2.1")
	f.clock.Move(unlogged.SessionIdle - 2*time.Minute)
	wantSession(t, s, third, true)
	want(third, 0, "192.0.2.3")
	wantSession(t, s, first, false)
	delete(owners, alice)
	want(third, -1)
}

// An end is never lost: when the index can't be written, the log deletes all keys of
// the session.
func TestEndOnAFullDisk(t *testing.T) {
	f := create(t)
	s := f.sessions(t, map[record.UserID]record.Owner{})
	cookie := begin(t, s, record.Session{Owner: alice})
	f.refused = disk.ErrNoSpace
	if _, err := s.Begin(record.Session{Owner: alice}); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("a login: got %v", err)
	}
	var deleted [][]byte
	for _, c := range []string{cookie, "of nobody"} {
		must.Do(t, s.End(c, func(keys [][]byte) error { deleted = append(deleted, keys...); return nil }))
	}
	f.refused = nil
	if len(deleted) != 2 || !slices.ContainsFunc(deleted, func(k []byte) bool { return string(k) == string(record.SessionKey(cookie)) }) {
		t.Errorf("the log deletes %q", deleted)
	}
	failed := errors.New("failed")
	f.refused = disk.ErrNoSpace
	if err := s.End(cookie, func([][]byte) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v, want %v", err, failed)
	}
	f.refused = nil
}

// A file that is opened moves to the front; only a limited number of the others
// is kept.
func TestFiles(t *testing.T) {
	f := create(t)
	files := &unlogged.Files{Index: f, Now: f.clock.Milli}
	opened := func(id, revision, path string, at int64) {
		t.Helper()
		must.Do(t, files.Opened(alice, record.File{ID: json.RawMessage(id), Revision: json.RawMessage(revision), Path: path, Time: at}))
	}
	want := func(want ...string) {
		t.Helper()
		list, err := files.List(alice)
		var got []string
		for _, v := range list {
			got = append(got, fmt.Sprintf("%s %s %s", v.ID, v.Revision, v.Path))
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	want()
	opened(`1`, `1`, "/a", 0)
	opened(`2`, `1`, "/b", 0) // in the same millisecond
	opened(`"1"`, `1`, "/a", 0)
	opened(`1`, `1`, "/c", 0)
	want(`1 1 /c`, `"1" 1 /a`, `2 1 /b`, `1 1 /a`)
	opened(`1`, `2`, "/a", 0) // moves to the front, with its new revision
	want(`1 2 /a`, `1 1 /c`, `"1" 1 /a`, `2 1 /b`)
	f.clock.Move(time.Second)
	opened(`3`, `null`, "/d", f.clock.Milli()-500) // the time that the client sent
	opened(`2`, `"x"`, "/b", 0)
	want(`2 "x" /b`, `3 null /d`, `1 2 /a`, `1 1 /c`, `"1" 1 /a`)
	if list, err := files.List(bob); len(list) != 0 || err != nil {
		t.Errorf("another user's: got %v, %v", list, err)
	}
	var all []string
	for n := range 150 {
		opened(fmt.Sprint(n), `7`, "/many", 0)
		all = append([]string{fmt.Sprintf("%d 7 /many", n)}, all...)
	}
	want(all[:unlogged.MaxFiles]...)
	n := 0
	err := f.View(func(v *index.View) error {
		for range v.Scan(record.FilesOf(alice)) {
			n++
		}
		return nil
	})
	if err != nil || n != unlogged.MaxFiles {
		t.Errorf("the index has %d, %v", n, err)
	}
}

// A value is available at once, and in the index after Save: without the name, and for
// the time that it is kept.
func TestMemory(t *testing.T) {
	f := create(t)
	recall := func() *unlogged.Expiring {
		return &unlogged.Expiring{Index: f, Key: [32]byte{1}, Write: func(bytes int, fn func(*index.Update) error) error {
			if f.refused != nil {
				return f.refused
			}
			return f.Index.Write(bytes, fn)
		}}
	}
	m := recall()
	want := func(m *unlogged.Expiring, name string, want unlogged.Attempts) {
		t.Helper()
		if got, err := m.Attempts(name); got != want || err != nil {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
	three, four := unlogged.Attempts{Failures: 3, Until: 42}, unlogged.Attempts{Failures: 4, Until: 43}
	want(m, "alice", unlogged.Attempts{})
	m.SetAttempts("alice", three)
	want(m, "alice", three)
	want(recall(), "alice", unlogged.Attempts{})
	f.refused = disk.ErrNoSpace
	if err := m.Save(); !errors.Is(err, disk.ErrNoSpace) {
		t.Errorf("got %v", err)
	}
	f.refused = nil
	want(m, "alice", three)
	must.Do(t, m.Save())
	want(m, "alice", three)
	want(recall(), "alice", three)
	m.SetAttempts("alice", four)
	want(m, "alice", four)

	// A flood of names evicts nobody.
	for n := range 5000 {
		m.SetAttempts(fmt.Sprint(n, " my pa55word"), three)
	}
	must.Do(t, m.Save())
	want(recall(), "alice", four)
	want(recall(), "4999 my pa55word", three)
	must.Do(t, f.View(func(v *index.View) error {
		n := 0
		for k := range v.Scan([]byte{'f'}) {
			if n++; len(k) != 33 || strings.Contains(string(k), "pa55word") {
				t.Errorf("the key %q", k)
			}
		}
		if n != 5001 {
			t.Errorf("%d names are stored, want 5001", n)
		}
		return nil
	}))
	m.Put("soon over", []byte("x"), time.Second)
	must.Do(t, m.Save())
	must.Happen(t, "its end", func() bool {
		v, err := recall().Get("soon over")
		return err != nil || v == nil
	})
}
