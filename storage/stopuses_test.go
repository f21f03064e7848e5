package storage_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/journal"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// flip flips the last bit of a file.
func flip(t *testing.T, file string) {
	t.Helper()
	b := must.Get(os.ReadFile(file))(t)
	b[len(b)-1] ^= 1
	must.Do(t, os.WriteFile(file, b, 0o600))
}

// stopped closes a store without time to bring its uses into Badger.
func stopped(t *testing.T, s *storage.Store) {
	t.Helper()
	<-s.Counted()
	<-s.Loaded() // otherwise a stop writes no table
	must.Do(t, s.CloseAtOnce())
}

// The next start counts the uses, of every kind, that a stop had no time to count.
// They stay counted after stops and kills.
func TestStopLeavesUses(t *testing.T) {
	dir, clock := t.TempDir(), newClock()
	opts := timed(t, clock)
	s := openWith(t, dir, opts)
	u := addUser(t, s, "alice@example.com")
	models, secrets := map[storage.ID]*useModel{}, map[storage.ID]string{}
	token := func() storage.ID {
		id, secret := create(t, s, u)
		models[id], secrets[id] = new(useModel), secret
		return id
	}
	use := func(id storage.ID, from storage.Origin) {
		t.Helper()
		must.Get(s.Authenticate(secrets[id], from))(t)
		models[id].use(clock.Milli(), from)
	}
	other := storage.Origin{Address: netip.MustParseAddr("2001:db8::1"), Agent: "other"}
	once, twice, days, gone, unused, nowhere := token(), token(), token(), token(), token(), token()
	clock.Move(time.Second)
	use(once, home)
	use(twice, home)
	use(twice, other)
	use(days, home)
	clock.Move(48 * time.Hour)
	use(days, home)
	use(gone, home)
	use(nowhere, storage.Origin{})
	models[nowhere].seen = nil
	must.Get(s.RevokeTokens(admin, gone))(t)
	check := func(when string) {
		t.Helper()
		for id, m := range models {
			tok := must.Get(s.Token(id))(t)
			m.compare(t, when, tok, clock.Milli())
		}
	}
	for n := range 2 {
		stopped(t, s)
		opts.Early = n == 1
		s = openWith(t, dir, opts)
		<-s.Counted()
		check("after a start")
	}
	clock.Move(time.Second)
	use(once, home)
	use(days, other)
	use(unused, home)
	check("in use")
	s, dir = killed(t, s, dir, opts, true)
	<-s.Counted()
	check("after a kill")
	stopped(t, s)
	s = openWith(t, dir, opts)
	<-s.Counted()
	must.Do(t, s.Flush(t.Context()))
	check("after a flush")
	s = reopened(t, s, dir, opts)
	check("at the end")
}

// Uses that happen before the uses from the stop are recovered count, too.
func TestUseBeforeRecovery(t *testing.T) {
	dir, opts, live, _ := left(t)
	s := openWith(t, dir, opts)
	must.Get(s.Authenticate(live, home))(t)
	stopped(t, s)
	s, let := held(t, dir, opts)
	b := must.Get(s.Authenticate(live, storage.Origin{Address: netip.MustParseAddr("192.0.2.9"), Agent: "early"}))(t)
	for slice := range uses.Slices {
		must.Do(t, s.Uses().Save(slice))
	}
	let()
	<-s.Counted()
	tok, err := s.Token(b.ID)
	if err != nil || tok.Usage.Uses != 3 || len(tok.Usage.Seen) != 2 {
		t.Errorf("got %d uses from %v, %v, want 3 from 2", tok.Usage.Uses, tok.Usage.Seen, err)
	}
	wantLive(t, s, live)
	s, _ = killed(t, s, dir, opts, true)
	<-s.Counted()
	if tok, err := s.Token(b.ID); err != nil || tok.Usage.Uses != 4 {
		t.Errorf("used again, after a kill: got %d uses, %v, want 4", tok.Usage.Uses, err)
	}
}

// Uses that a stop left are counted exactly once, even when the table can't be read,
// when the log has another segment, and when an earlier version named in the table's
// file the segment that it had not counted.
func TestStopLeavesUsesOnce(t *testing.T) {
	storagetest.Slow(t)
	for name, change := range map[string]func(t *testing.T, s *storage.Store){
		"a shard that does not verify": func(t *testing.T, s *storage.Store) { flip(t, path(s, "table")) },
		"another segment": func(t *testing.T, s *storage.Store) {
			must.Do(t, disk.WriteFile(filepath.Join(path(s, "uses"), "0000000000000001"), nil))
		},
		"a table of an earlier version": func(t *testing.T, s *storage.Store) {
			segments, err := filepath.Glob(filepath.Join(path(s, "uses"), "*"))
			if err != nil || len(segments) != 1 {
				t.Fatalf("got segments %v, %v, want one", segments, err)
			}
			segment := must.Get(strconv.ParseUint(filepath.Base(segments[0]), 16, 64))(t)
			b := must.Get(os.ReadFile(path(s, "table")))(t)
			head := must.Get(s.Opening().Seals.Open([]byte("T head"), b[:table.HeadSize]))(t)
			named := len("GATEHOUSE TABLE 3\n") + journal.PositionSize + 8
			binary.BigEndian.PutUint64(head[named:], segment-1) // the run
			binary.BigEndian.PutUint64(head[named+8:], segment)
			b = append(s.Opening().Seals.Seal([]byte("T head"), head), b[table.HeadSize:]...)
			must.Do(t, os.WriteFile(path(s, "table"), b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, opts, live, _ := left(t)
			s := openWith(t, dir, opts)
			b := must.Get(s.Authenticate(live, home))(t)
			stopped(t, s)
			change(t, s)
			for range 2 {
				s = openWith(t, dir, opts)
				<-s.Counted()
				tok, err := s.Token(b.ID)
				if err != nil || tok.Usage.Uses != 2 {
					t.Errorf("got %d uses, %v, want 2", tok.Usage.Uses, err)
				}
				stopped(t, s)
			}
		})
	}
}

// A segment with a flipped bit loses uses, and nothing else.
func TestStopLeavesDamagedUses(t *testing.T) {
	dir, opts, live, _ := left(t)
	s := openWith(t, dir, opts)
	b := must.Get(s.Authenticate(live, home))(t)
	stopped(t, s)
	logs, err := filepath.Glob(filepath.Join(dir, "store", "uses", "*"))
	if err != nil || len(logs) != 1 {
		t.Fatalf("got %v, %v, want one segment", logs, err)
	}
	flip(t, logs[0])
	s = openWith(t, dir, opts)
	<-s.Counted()
	tok, err := s.Token(b.ID)
	if err != nil || tok.Usage.Uses != 1 || tok.LastUsed != s.Opening().Clock.Now() {
		t.Errorf("got %d uses, the last at %d, %v, want 1, and the last at %d", tok.Usage.Uses, tok.LastUsed, err, s.Opening().Clock.Now())
	}
	wantLive(t, s, live)
	must.Do(t, s.Flush(t.Context()))
	if tok, err := s.Token(b.ID); err != nil || tok.Usage.Uses != 2 {
		t.Errorf("in use: got %d uses, %v, want 2", tok.Usage.Uses, err)
	}
}

// When neither the table's file nor the records can be read, both are made again from the
// log.
func TestStopLeavesUsesUnloadable(t *testing.T) {
	dir, opts, live, _ := left(t)
	s := openWith(t, dir, opts)
	b := must.Get(s.Authenticate(live, home))(t)
	must.Do(t, s.Flush(t.Context()))
	must.Get(s.Authenticate(live, home))(t)
	must.Do(t, s.Index().Write(1, func(u *index.Update) error { return u.Hint(record.TokenKey(b.ID), []byte("no token"), 0) }))
	stopped(t, s)
	flip(t, filepath.Join(dir, "store", "table"))
	s = must.Get(storage.Open(dir, opts))(t)
	defer s.Close()
	if _, err := s.Snapshot(t.Context(), io.Discard); err != nil {
		t.Errorf("a snapshot: %v", err)
	}
	wantLive(t, s, live)
}

// A stop does not wait for a backup.
func TestStopDuringABackup(t *testing.T) {
	dir, opts, live, _ := left(t)
	s := openWith(t, dir, opts)
	wantLive(t, s, live)
	<-s.Counted()
	u := must.Get(s.User("alice@example.com"))(t)
	spec := storage.TokenSpec{}
	for n := range 32 { // enough tokens to exceed the buffer of a backup
		spec.Scopes = append(spec.Scopes, fmt.Sprintf("%064d", n))
	}
	for range 600 {
		must.Get2(s.CreateToken(admin, u.ID, spec))(t)
	}
	read, write := io.Pipe()
	backup := make(chan error, 1)
	go func() {
		_, err := s.Snapshot(t.Context(), write)
		backup <- err
	}()
	must.Get(io.ReadFull(read, make([]byte, 1)))(t) // the backup is in progress
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	<-s.Opening().Closing
	go func() { // slowly, so that the backup is not over before it finds that the store closes
		for {
			if _, err := io.CopyN(io.Discard, read, 8<<10); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := <-backup; !errors.Is(err, storage.ErrClosed) {
		t.Errorf("got %v, want %v", err, storage.ErrClosed)
	}
	must.Do(t, <-closed)
}
