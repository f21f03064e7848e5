package tui

import (
	"context"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"golang.org/x/sys/unix"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
)

// million starts the real server, in a process of its own, with a million tokens of 100,000
// users.
func million(b *testing.B) *api.Client {
	b.Helper()
	dir := b.TempDir()
	program, data := filepath.Join(dir, "gatehouse"), filepath.Join(dir, "data")
	for _, args := range [][]string{
		{"go", "build", "-buildvcs=false", "-o", program, "gatehouse"},
		{program, "demo", "--users", "100000", "--tokens", "1000000", "--data", data, "--no-serve"},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			b.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	serve := exec.Command(program, "serve", "--data", data, "--listen", "127.0.0.1:0")
	must.Do(b, serve.Start())
	b.Cleanup(func() {
		serve.Process.Signal(syscall.SIGTERM)
		serve.Wait()
	})
	c := api.Dial(filepath.Join(data, "run", "admin.sock"))
	for end := time.Now().Add(enough); ; time.Sleep(100 * time.Millisecond) {
		if _, err := c.Status(context.Background()); err == nil {
			return c
		} else if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

// BenchmarkFrame is a key and the frame after it, at 200x50 with the pane, on a server with
// a million tokens. The server's answers are not timed: a frame does not wait for them. It
// also reports the processor time of a frame, which other programs on the machine do not
// change, and the memory that this process, the UI, has from the system.
//
//	go test ./tui -run XXX -bench Frame -benchtime 500x
func BenchmarkFrame(b *testing.B) {
	c := million(b)
	for _, screen := range []string{"1", "2", "3", "4", "5"} {
		b.Run(tabNames[screen[0]-'1'], func(b *testing.B) {
			d := drive(b, unfollowed{c}, Options{})
			d.send(tea.WindowSizeMsg{Width: 200, Height: 50})
			d.press(screen)
			var took, cost []time.Duration
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for i := 0; b.Loop(); i++ {
				k := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{rune("jjjk"[i%4])}}
				if i%10 == 0 {
					k = tea.KeyMsg{Type: tea.KeyPgDown}
				}
				start, used := time.Now(), processor(b)
				_, cmd := d.Update(k)
				d.View()
				took, cost = append(took, time.Since(start)), append(cost, processor(b)-used)
				d.blind = true
				d.run(cmd)
				d.tick(paneAfter)
			}
			slices.Sort(took)
			slices.Sort(cost)
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			b.ReportMetric(float64(cost[len(cost)*99/100].Microseconds()), "p99-cpu-us")
			b.ReportMetric(float64(mem.Sys)/(1<<20), "MiB")
		})
	}
}

// processor returns the processor time that the thread has used.
func processor(b *testing.B) time.Duration {
	var t unix.Timespec
	must.Do(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t))
	return time.Duration(t.Nano())
}
