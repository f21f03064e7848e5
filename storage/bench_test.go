package storage_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/backup"
	"gatehouse/storage/keys"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest/must"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// BenchmarkCreate compares the durable creations a second of this store with
// those of plain, synced Badger, which puts the same records in one transaction
// for each creation. It also reports how fast the disk itself is in the same
// minute.
func BenchmarkCreate(b *testing.B) {
	for _, clients := range []int{1, 32, 128} {
		b.Run(fmt.Sprintf("clients=%d/gatehouse", clients), func(b *testing.B) {
			s, users := benchStore(b, b.TempDir())
			creations(b, clients, func(n int) error {
				_, _, err := s.CreateToken(admin, users[n%len(users)], storage.TokenSpec{Name: "bench"})
				return err
			})
		})
		b.Run(fmt.Sprintf("clients=%d/badger", clients), func(b *testing.B) {
			s, users := benchStore(b, b.TempDir())
			db := must.Get(badger.Open(badger.DefaultOptions(b.TempDir()).WithSyncWrites(true).WithLogger(nil)))(b)
			defer db.Close()
			creations(b, clients, func(n int) error {
				now := time.Now().UnixMilli()
				t := storage.Token{ID: keys.NewID(1), Owner: users[n%len(users)], Name: "bench", By: admin.Name, Created: now, LastUsed: now}
				v, err := t.Value()
				if err != nil {
					return err
				}
				k := record.TokenKey(t.ID)
				return db.Update(func(txn *badger.Txn) error {
					if err := txn.Set(k, s.Opening().Seals.Seal(k, v)); err != nil {
						return err
					}
					return txn.Set(t.OwnedKey(), nil)
				})
			})
		})
	}
}

// benchStore opens a store with so many users that none has many tokens.
func benchStore(b *testing.B, dir string) (*storage.Store, []storage.UserID) {
	b.Helper()
	s := openWith(b, dir, storage.Options{})
	return s, importUsers(b, s, 1000, func(n int) storage.User {
		return storage.User{UID: fmt.Sprintf("user%d@example.com", n), Source: storage.SourceLocal}
	})
}

// importUsers makes users in changes of 500.
func importUsers(b *testing.B, s *storage.Store, most int, user func(n int) storage.User) (users []storage.UserID) {
	b.Helper()
	for len(users) < most {
		var list []storage.User
		for n := range 500 {
			list = append(list, user(len(users)+n))
		}
		made := must.Get(s.ImportUsers(admin, list))(b)
		for _, u := range made {
			users = append(users, u.ID)
		}
	}
	return users
}

// creations makes clients call create b.N times in all.
func creations(b *testing.B, clients int, create func(n int) error) {
	b.Helper()
	raw := diskSyncs(b)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range clients {
		wg.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				if err := create(int(n)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "creations/s")
	b.ReportMetric((raw+diskSyncs(b))/2, "disk-syncs/s")
}

// diskSyncs returns how often a second the disk makes 512 bytes durable, in
// space that was written before.
func diskSyncs(b *testing.B) float64 {
	b.Helper()
	f := must.Get(os.Create(filepath.Join(b.TempDir(), "raw")))(b)
	defer f.Close()
	const times = 500
	must.Get(f.Write(make([]byte, times*512)))(b)
	must.Do(b, f.Sync())
	block := make([]byte, 512)
	start := time.Now()
	for n := range times {
		block[0]++
		must.Get(f.WriteAt(block, int64(n)*512))(b)
		must.Do(b, unix.Fdatasync(int(f.Fd())))
	}
	return times / time.Since(start).Seconds()
}

// BenchmarkRevoke makes one durable revocation after the other during 5,000
// verifications a second, with and without flushing their last uses.
func BenchmarkRevoke(b *testing.B) {
	for _, flushed := range []bool{true, false} {
		b.Run(fmt.Sprintf("flushed=%v", flushed), func(b *testing.B) {
			dir := b.TempDir()
			s, users := benchStore(b, dir)
			victims := importTokens(b, s, users, b.N, nil)
			var secrets []string
			importTokens(b, s, users, 20_000, &secrets)
			stop := make(chan struct{})
			var wg sync.WaitGroup
			var verified atomic.Int64
			wg.Go(func() {
				start := time.Now()
				for n := int64(0); ; {
					select {
					case <-stop:
						return
					case <-time.After(time.Millisecond):
					}
					for ; n < time.Since(start).Microseconds()/200; n++ { // 5,000 a second
						text := secrets[rand.IntN(len(secrets))]
						var err error
						if flushed {
							_, err = s.Authenticate(text, home)
						} else { // everything except the use
							_, err = s.Inspect(text, home.Address)
						}
						if err != nil {
							b.Error(err)
							return
						}
						verified.Add(1)
					}
				}
			})
			took := make([]time.Duration, 0, b.N)
			b.ResetTimer()
			for _, id := range victims {
				start := time.Now()
				must.Get(s.RevokeTokens(admin, id))(b)
				took = append(took, time.Since(start))
				time.Sleep(2 * time.Millisecond) // so that the run sees many flushes
			}
			b.StopTimer()
			rate := float64(verified.Load()) / b.Elapsed().Seconds()
			close(stop)
			wg.Wait()
			slices.Sort(took)
			at := func(p float64) float64 { return float64(took[int(p*float64(len(took)-1))].Microseconds()) / 1000 }
			b.ReportMetric(at(0.50), "p50-ms")
			b.ReportMetric(at(0.99), "p99-ms")
			b.ReportMetric(at(1), "max-ms")
			b.ReportMetric(rate, "verifications/s")
		})
	}
}

// importTokens makes tokens as the demonstration does, and reveals them if
// secrets is not nil.
func importTokens(b *testing.B, s *storage.Store, users []storage.UserID, n int, secrets *[]string) (ids []storage.ID) {
	b.Helper()
	for len(ids) < n {
		var list []storage.Imported
		for len(list) < min(500, n-len(ids)) {
			at := time.Now().UnixMilli() - rand.Int64N(1e10)
			list = append(list, storage.Imported{Owner: users[rand.IntN(len(users))], Name: "laptop", Created: at, LastUsed: at + 1e6, From: home})
		}
		made := must.Get(s.ImportTokens(admin, list))(b)
		for _, t := range made {
			ids = append(ids, t.ID)
			if secrets != nil {
				*secrets = append(*secrets, s.Reveal(t).Reveal())
			}
		}
	}
	return ids
}

func BenchmarkAuthenticate(b *testing.B) {
	s, users := benchStore(b, b.TempDir())
	var secrets []string
	importTokens(b, s, users, 50_000, &secrets)
	forged := []byte(secrets[0])
	forged[100] ^= 1
	_, limitedSecret := must.Get2(s.CreateToken(admin, users[0], storage.TokenSpec{Scopes: []string{"files"}}))(b)
	gone, goneSecret := must.Get2(s.CreateToken(admin, users[0], storage.TokenSpec{}))(b)
	must.Get(s.RevokeTokens(admin, gone.ID))(b)
	for _, c := range []struct {
		name string
		list []string
		want bool
	}{
		{"live", secrets, true},
		{"limited", []string{limitedSecret.Reveal()}, true},
		{"revoked", []string{goneSecret.Reveal()}, false},
		{"mistyped", []string{string(forged)}, false},
		{"forged", []string{otherInstallation(b)}, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if _, err := s.Authenticate(c.list[n%len(c.list)], home); (err == nil) != c.want {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("live/all cores", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for n := rand.IntN(len(secrets)); pb.Next(); n++ {
				if _, err := s.Authenticate(secrets[n%len(secrets)], home); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

// otherInstallation returns a token of another installation, with a valid form
// and checksum.
func otherInstallation(b *testing.B) string {
	b.Helper()
	elsewhere := keys.Ring{Tokens: map[byte][32]byte{1: {1}}}.TokenKeys()
	return elsewhere.Secret(keys.NewID(1), 0).Reveal()
}

// cpu reports the processor time of each round, which depends less on the load
// of the machine than the elapsed time.
func cpu(b *testing.B) (end func()) {
	spent := func() float64 {
		var u unix.Rusage
		must.Do(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e6
	}
	from := spent()
	return func() { b.ReportMetric((spent()-from)/float64(b.N), "cpu-ms") }
}

// BenchmarkLarge measures a store with GATEHOUSE_BENCH_TOKENS tokens, or
// 100,000: how long it takes to open, to back up and to restore.
func BenchmarkLarge(b *testing.B) {
	tokens := 100_000
	if text := os.Getenv("GATEHOUSE_BENCH_TOKENS"); text != "" {
		var err error
		if tokens, err = strconv.Atoi(text); err != nil {
			b.Fatal(err)
		}
	}
	dir := b.TempDir()
	start := time.Now()
	s, users := benchStore(b, dir)
	var secrets []string
	importTokens(b, s, users, 1000, &secrets)
	importTokens(b, s, users, tokens-1000, nil)
	b.Logf("%d tokens made in %v", tokens, time.Since(start).Round(time.Millisecond))
	s.Close()

	b.Run("open", func(b *testing.B) { benchOpen(b, dir, secrets) })
	file := filepath.Join(b.TempDir(), "backup")
	b.Run("backup", func(b *testing.B) { benchBackup(b, dir, file) })
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			f := benchFile(b, file)
			must.Get(backup.Check(f))(b)
			f.Close()
		}
	})
	b.Run("restore", func(b *testing.B) { benchRestore(b, dir, file, secrets[0]) })
}

func benchOpen(b *testing.B, dir string, secrets []string) {
	var first, loaded time.Duration
	defer cpu(b)()
	for n := 0; b.Loop(); n++ {
		start := time.Now()
		s := must.Get(storage.Open(dir, storage.Options{}))(b)
		must.Get(s.Authenticate(secrets[n%len(secrets)], home))(b)
		first += time.Since(start)
		<-s.Loaded()
		loaded += time.Since(start)
		b.StopTimer()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "heap-MiB")
		must.Do(b, s.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(first.Milliseconds())/float64(b.N), "first-ms")
	b.ReportMetric(float64(loaded.Milliseconds())/float64(b.N), "loaded-ms")
}

func benchFile(b *testing.B, name string) *os.File {
	b.Helper()
	f := must.Get(os.Open(name))(b)
	info := must.Get(f.Stat())(b)
	b.SetBytes(info.Size())
	return f
}

func benchBackup(b *testing.B, dir, backup string) {
	s := must.Get(storage.Open(dir, storage.Options{}))(b)
	defer s.Close()
	<-s.Loaded()
	defer cpu(b)()
	for b.Loop() {
		f := must.Get(os.Create(backup))(b)
		must.Get(s.Snapshot(context.Background(), f))(b)
		must.Do(b, f.Sync())
		size, _ := f.Seek(0, io.SeekEnd)
		b.SetBytes(size)
		f.Close()
	}
}

func benchRestore(b *testing.B, dir, backup, secret string) {
	key := must.Get(os.ReadFile(filepath.Join(dir, "key")))(b)
	defer cpu(b)()
	for b.Loop() {
		to := b.TempDir()
		must.Do(b, os.WriteFile(filepath.Join(to, "key"), key, 0o600))
		f := benchFile(b, backup)
		must.Get(storage.Restore(context.Background(), f, to, storage.Options{}))(b)
		f.Close()
		b.StopTimer()
		s := must.Get(storage.Open(to, storage.Options{}))(b)
		if _, err := s.Authenticate(secret, home); err != nil {
			b.Error(err)
		}
		s.Close()
		b.StartTimer()
	}
}
