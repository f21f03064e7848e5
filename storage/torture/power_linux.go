package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// power cuts the power of a store N times.
func (t *torture) power() error {
	if t.rounds == 0 {
		t.rounds = 100
	}
	m, err := t.newMachine()
	if err != nil {
		return err
	}
	defer m.off()
	l, began := newLedger(), time.Now()
	r := row{what: "power failure", note: "of a store at work"}
	var opening time.Duration
	for n := range t.rounds {
		ahead := time.Duration(n) * aheadEach
		v, err := start(l, "work", m.path("store"), ahead.String(), strconv.FormatUint(t.rand.Uint64(), 10), "0s", "1000000000")
		if err == nil {
			err = m.fail(t, v)
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		l.Uses = map[string][]use{} // the log of uses is not synced
		took, wrong, err := inspect(l, m.path("store"), ahead, t.whole(n))
		if err != nil {
			return fmt.Errorf("round %d: %w", n, err)
		}
		opening = max(opening, took)
		t.enter(&r, n, l.Acked, wrong, began)
		if (n+1)%10 == 0 {
			t.log("%d rounds, %d changes acknowledged, %d tokens, slowest opening %s, %s", n+1, l.Acked, len(l.Tokens),
				opening.Round(time.Millisecond), time.Since(began).Round(time.Second))
		}
	}
	r.note += fmt.Sprintf("; slowest opening after it %s, %d times the index was built again", opening.Round(time.Millisecond), l.Rebuilt)
	t.table = append(t.table, r)
	if m.lost == 0 {
		return errors.New("every file that was not synced survived, so this shows nothing")
	}
	return nil
}

// machine is a file system that can lose its power.
type machine struct {
	image, mount string
	lost         int // how many files that were not synced have lost their content
}

func (t *torture) newMachine() (*machine, error) {
	m := &machine{image: t.path("image"), mount: t.path("mount")}
	f, err := os.Create(m.image)
	if err == nil {
		err = errors.Join(f.Truncate(4<<30), f.Close(), os.Mkdir(m.mount, 0o700))
	}
	if err == nil {
		err = command("mkfs.ext4", "-q", "-F", m.image)
	}
	if err == nil {
		err = m.on()
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoMachine, err)
	}
	return m, nil
}

var errNoMachine = errors.New("no loop device can be mounted here: it takes root")

func (m *machine) path(name string) string { return filepath.Join(m.mount, name) }
func (m *machine) on() error               { return command("mount", "-o", "loop", m.image, m.mount) }

// off unmounts the file system. It waits until a process that was just killed
// has released its files.
func (m *machine) off() error {
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := unix.Unmount(m.mount, 0)
		if errors.Is(err, unix.EBUSY) && time.Now().Before(end) {
			continue
		}
		if err != nil {
			err = fmt.Errorf("unmount %s: %w", m.mount, err)
		}
		return err
	}
}

// fail lets the child work for a random time, stops it, cuts the power, and
// restores it.
func (m *machine) fail(t *torture, v *victim) error {
	<-v.began
	time.Sleep(t.within(50*time.Millisecond, 1500*time.Millisecond))
	if t.rand.IntN(3) == 0 { // write some dirty pages to the disk, as the kernel does after a while
		if err := command("sync", "-f", m.mount); err != nil {
			return err
		}
		time.Sleep(t.within(0, 500*time.Millisecond))
	}
	if err := v.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		return err
	}
	const text = "not synced, so a power failure must lose it"
	if err := os.WriteFile(m.path("control"), []byte(text), 0o600); err != nil {
		return err
	}
	// The signal arrives while syncs are in progress, so the power fails in the
	// middle of them. A writer that is not stopped yet meets an error, and ends the
	// child.
	err := m.cut()
	if e := v.kill(); err == nil && !errors.Is(e, errEnded) {
		err = e
	}
	if err == nil {
		err = m.off()
	}
	if err == nil {
		err = m.on()
	}
	if b, _ := os.ReadFile(m.path("control")); string(b) != text {
		m.lost++
	}
	return err
}

// cut is EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32), with EXT4_GOING_FLAGS_NOLOGFLUSH.
func (m *machine) cut() error {
	d, err := os.Open(m.mount)
	if err != nil {
		return err
	}
	defer d.Close()
	return unix.IoctlSetPointerInt(int(d.Fd()), 0x8004587d, 2)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}
