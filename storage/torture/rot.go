package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/storage/storagetest"
)

// checkChild opens a store that may be damaged, compares it with a ledger, and prints
// "right", "refused: " and the error, "noticed: " and the number of errors in place of
// answers, or "wrong: " and the violations. It ends without closing the store.
func checkChild(args []string) error {
	l, err := loadLedger(args[1])
	if err != nil {
		return err
	}
	s, err := open(args[0], 0, 0, io.Discard)
	if err != nil {
		fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		return nil
	}
	c := &checker{ledger: l, s: s, whole: true, tolerant: true}
	c.all()
	switch {
	case len(c.wrong) > 0:
		fmt.Println("wrong:", some(c.wrong))
	case c.errors > 0:
		fmt.Println("noticed:", c.errors, "errors")
	default:
		fmt.Println("right")
	}
	return nil
}

// rot flips bits of a store that was killed, and of one that was closed.
func (t *torture) rot() error {
	if t.rounds == 0 {
		t.rounds = 500
	}
	if err := t.rotOf("killed", true); err != nil {
		return err
	}
	return t.rotOf("closed", false)
}

func (t *torture) rotOf(name string, killed bool) error {
	base := t.path(name)
	l, err := t.rotBase(base, killed)
	if err != nil {
		return err
	}
	if err := l.save(t.path("ledger")); err != nil {
		return err
	}
	places, err := extents(base)
	if err != nil {
		return err
	}
	var kinds []string
	for kind := range places {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	began, tally, r := time.Now(), map[string]int{}, row{what: "rot, " + name, acked: l.Acked}
	for n := range t.rounds {
		p := places.pick(t, kinds, n%2 == 0)
		result := t.flip(base, p)
		verdict, _, _ := strings.Cut(result, ":")
		if tally[verdict]++; verdict == "wrong" {
			r.wrong++
			t.log("%s: byte %d of %s: %s", name, p.offset, p.file, result)
		}
		if (n+1)%50 == 0 {
			t.log("%s: %d flips, %v, %s", name, n+1, tally, time.Since(began).Round(time.Second))
		}
	}
	r.rounds, r.took = t.rounds, time.Since(began)
	r.note = fmt.Sprintf("%v over %s", tally, strings.Join(kinds, " "))
	t.table = append(t.table, r)
	return nil
}

// rotBase makes a store with several tables and a checkpoint.
func (t *torture) rotBase(dir string, killed bool) (*ledger, error) {
	l := newLedger()
	for n := range 3 {
		v, err := start(l, "work", dir, "-48h", fmt.Sprint(n), "0s", fmt.Sprint(min(150, 20*t.rounds)))
		if err == nil {
			err = v.wait()
		}
		if err != nil {
			return nil, err
		}
	}
	v, err := start(l, "work", dir, "0s", "9", "0s", "1000000000") // a day is over, so it makes a checkpoint
	if err != nil {
		return nil, err
	}
	time.Sleep(1500 * time.Millisecond)
	if err := v.kill(); err != nil {
		return nil, err
	}
	at := dir
	if killed { // the files, which must not change, decide what happened to the changes in flight
		if at = t.path("copy"); storagetest.CopyStore(dir, at) != nil {
			return nil, errors.New("the store can't be copied")
		}
		defer os.RemoveAll(at)
	}
	before, fresh := l.Sequence, l.Fresh
	_, wrong, err := inspect(l, at, 0, true)
	if err == nil && len(wrong) > 0 {
		err = errors.New(some(wrong))
	}
	l.Sequence, l.Fresh = before, fresh
	return l, err
}

// place is a byte of a file.
type place struct {
	file   string
	offset int64
}

// extent is a part of a file that is not a hole.
type extent struct {
	file     string
	from, to int64
}

// kinds are the extents by kind of file.
type kinds map[string][]extent

// extents finds all bytes of a store.
func extents(dir string) (kinds, error) {
	all := kinds{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "ballast" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		name, _ := filepath.Rel(dir, path)
		kind := filepath.Ext(name)
		if kind == "" {
			kind = filepath.Base(name)
		}
		for at := int64(0); ; {
			from, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
			if err != nil {
				return nil // ENXIO: nothing but a hole follows
			}
			if at, err = unix.Seek(int(f.Fd()), from, unix.SEEK_HOLE); err != nil {
				return err
			}
			all[kind] = append(all[kind], extent{name, from, at})
		}
	})
	return all, err
}

// pick picks a byte: any byte, or one of a random kind.
func (k kinds) pick(t *torture, names []string, any bool) place {
	var of []extent
	if any {
		for _, name := range names {
			of = append(of, k[name]...)
		}
	} else {
		of = k[names[t.rand.IntN(len(names))]]
	}
	var size int64
	for _, e := range of {
		size += e.to - e.from
	}
	n := t.rand.Int64N(size)
	for _, e := range of {
		if n < e.to-e.from {
			return place{e.file, e.from + n}
		}
		n -= e.to - e.from
	}
	panic("beyond the sum of the extents")
}

// flip flips a bit in a copy, and has the copy checked. If that notices damage,
// it has the copy checked a second time.
func (t *torture) flip(base string, p place) string {
	dir := t.path("flipped")
	defer os.RemoveAll(dir)
	if err := storagetest.CopyStore(base, dir); err != nil {
		return "wrong: " + err.Error()
	}
	if err := flipBit(filepath.Join(dir, p.file), p.offset, 1<<t.rand.IntN(8)); err != nil {
		return "wrong: " + err.Error()
	}
	result := t.look(dir, t.path("ledger"))
	if !strings.HasPrefix(result, "noticed") {
		return result
	}
	if again := t.look(dir, t.path("ledger")); again != "right" {
		return "wrong: " + result + ", and not healed: " + again
	}
	return "healed"
}

func flipBit(file string, offset int64, bit byte) error {
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return err
	}
	b[0] ^= bit
	_, err = f.WriteAt(b[:], offset)
	return err
}

var segmentAndOffset = regexp.MustCompile(`\d{10}\.seg.* (at byte \d+|is missing)`)

// look makes a child compare a store with a ledger.
func (t *torture) look(dir, ledger string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		return "wrong: " + err.Error()
	}
	cmd := exec.CommandContext(ctx, self, "check", dir, ledger)
	cmd.Env = append(os.Environ(), asChild+"=1")
	var stderr tail
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	result := strings.TrimSpace(string(out))
	switch {
	case ctx.Err() != nil:
		return "wrong: it hangs"
	case err != nil:
		return fmt.Sprintf("wrong: %v: %.2000s", err, stderr.String())
	case strings.HasPrefix(result, "refused") && !strings.Contains(result, dir):
		return "wrong: no file is named: " + result
	case strings.HasPrefix(result, "refused") && strings.Contains(result, ".seg") && !segmentAndOffset.MatchString(result):
		return "wrong: no offset is named: " + result
	}
	return result
}
