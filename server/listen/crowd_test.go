package listen

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// anyConnections accepts connections without a limit that a test could reach.
func anyConnections(t *testing.T) *Connections {
	t.Helper()
	return connectionsOf(t, config.Limits{ConnectionsPerAddress: 1000})
}

func connectionsOf(t *testing.T, l config.Limits, proxies ...string) *Connections {
	t.Helper()
	o := must.Get(NewConnections(slog.New(slog.DiscardHandler), func() config.Limits { return l }, func(a netip.Addr) bool {
		for _, p := range proxies {
			if a == netip.MustParseAddr(p) {
				return true
			}
		}
		return false
	}))(t)
	t.Cleanup(func() { o.full.Stop(); o.overrun.Stop() })
	return o
}

// closer is a connection that is only ever closed.
type closer struct {
	halfCloser
	closed bool
}

func (c *closer) Close() error { c.closed = true; return nil }

// TestCrowd has connections come, be answered and wait, and checks which are closed. The
// first letter of a step is what happens: + comes, ! is being answered, . waits again, -
// is closed by its client. Then follow its name and, for +, its address.
func TestCrowd(t *testing.T) {
	const proxy = "10.0.0.1"
	for _, c := range []struct {
		what    string
		limits  config.Limits
		steps   string
		closed  string // in which order
		refused string
	}{
		{"the longest wait", config.Limits{Connections: 4, ConnectionsPerAddress: 100, ChangesPerUser: 0}, "+a:1.1.1.1 +b:1.1.1.2 +c:1.1.1.3 +d:1.1.1.4 !a .a +e:1.1.1.5 +f:1.1.1.6", "b c", ""},
		{"all are answered", config.Limits{Connections: 2, ConnectionsPerAddress: 100, ChangesPerUser: 0}, "+a:1.1.1.1 !a +b:1.1.1.2 !b +c:1.1.1.3 -a +d:1.1.1.4", "", "c"},
		{"only one waits", config.Limits{Connections: 2, ConnectionsPerAddress: 100, ChangesPerUser: 0}, "+a:1.1.1.1 !a +b:1.1.1.2 +c:1.1.1.3 !c +d:1.1.1.4", "b", "d"},
		{"one address", config.Limits{Connections: 20, ConnectionsPerAddress: 2, ChangesPerUser: 0}, "+a:1.1.1.1 +x:1.1.1.2 +b:1.1.1.1 +c:1.1.1.1 !b !c +d:1.1.1.1", "a", "d"},
		{"half of all", config.Limits{Connections: 4, ConnectionsPerAddress: 100, ChangesPerUser: 0}, "+x:1.1.1.9 +a:1.1.1.1 +b:1.1.1.1 +c:1.1.1.1 +d:1.1.1.1", "a b", ""},
		{"IPv4 as IPv6", config.Limits{Connections: 20, ConnectionsPerAddress: 1, ChangesPerUser: 0}, "+a:1.1.1.1 +b:::ffff:1.1.1.1", "a", ""},
		{"one alone", config.Limits{Connections: 20, ConnectionsPerAddress: 1, ChangesPerUser: 0}, "+a:1.1.1.1 +b:1.1.1.1 +c:1.1.1.1 +d:1.1.1.1 +e:1.1.1.1", "a b c d", ""},
		{"a /64", config.Limits{Connections: 200, ConnectionsPerAddress: 1, ChangesPerUser: 0}, "+a:2001:db8::1 +b:2001:db8::2 +c:2001:db8:0:1::1", "a", ""},
		{"a /56", config.Limits{Connections: 200, ConnectionsPerAddress: 1, ChangesPerUser: 0}, "+a:2001:db8:0:0::1 +b:2001:db8:0:1::1 +c:2001:db8:0:2::1 +d:2001:db8:0:3::1 +e:2001:db8:0:4::1", "a", ""},
		{"proxies have no bound but that of all", config.Limits{Connections: 4, ConnectionsPerAddress: 1, ChangesPerUser: 0}, "+a:10.0.0.1 +b:10.0.0.1 +c:10.0.0.1 +d:10.0.0.1 +e:10.0.0.1", "a", ""},
		{"proxies come last", config.Limits{Connections: 4, ConnectionsPerAddress: 4, ChangesPerUser: 0}, "+a:10.0.0.1 +b:10.0.0.1 +c:1.1.1.1 +d:1.1.1.2 +e:1.1.1.3 +f:10.0.0.1 +g:10.0.0.1 +h:1.1.1.4", "c d e a", ""},
		{"closed ones leave a place", config.Limits{Connections: 2, ConnectionsPerAddress: 100, ChangesPerUser: 0}, "+a:1.1.1.1 -a +b:1.1.1.2 -b +c:1.1.1.3 +d:1.1.1.4 -d +e:1.1.1.5", "", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			o := connectionsOf(t, c.limits, proxy)
			conns, here := map[string]*conn{}, map[string]bool{}
			var closed, refused []string
			for _, step := range strings.Fields(c.steps) {
				name, addr, _ := strings.Cut(step[1:], ":")
				switch step[0] {
				case '+':
					conns[name] = &conn{halfCloser: &closer{}, open: o}
					if here[name] = o.enter(conns[name], netip.MustParseAddr(addr)); !here[name] {
						refused = append(refused, name)
					}
				case '!':
					o.changed(conns[name], http.StateActive)
				case '.':
					o.changed(conns[name], http.StateIdle)
				case '-':
					conns[name].Close()
					here[name] = false
				}
				n := 0
				for name := range here {
					if here[name] && conns[name].halfCloser.(*closer).closed {
						closed, here[name] = append(closed, name), false
						conns[name].Close() // as net/http does then
					}
					if here[name] {
						n++
					}
				}
				if open, turned := o.Figures(); open != n || turned != len(closed)+len(refused) {
					t.Fatalf("after %s: %d open, %d turned away, want %d and %d", step, open, turned, n, len(closed)+len(refused))
				}
			}
			if got := strings.Join(closed, " "); got != c.closed {
				t.Errorf("closed %q, want %q", got, c.closed)
			}
			if got := strings.Join(refused, " "); got != c.refused {
				t.Errorf("refused %q, want %q", got, c.refused)
			}
			for name := range here {
				conns[name].Close()
			}
			if len(o.networks) != 0 || o.all.n != 0 {
				t.Errorf("%d networks and %d connections are left over", len(o.networks), o.all.n)
			}
			if full, overrun := o.full.crowds, o.overrun.crowds; full != 0 || overrun != 0 {
				t.Errorf("with no connection left, all are full: %d, networks: %d", full, overrun)
			}
		})
	}
}

func TestRoomFor(t *testing.T) {
	for files, want := range map[uint64]int{256: 192, 1024: 768, 20_000: 15_000, 524_288: 393_216, 1<<64 - 1: 3 << 20, 64: 0} {
		if got := roomFor(files); got != want {
			t.Errorf("%d files: got %d connections, want %d", files, got, want)
		}
	}
}

// TestSocketClosedTwice: a listener whose socket is gone does not remove the next one at its
// path, however often it is closed.
func TestSocketClosedTwice(t *testing.T) {
	cfg := config.Gate{Listen: "unix:" + filepath.Join(t.TempDir(), "s")}
	o := anyConnections(t)
	first := must.Get(o.GateListener(cfg))(t)
	must.Do(t, first.Close())
	second := must.Get(o.GateListener(cfg))(t)
	defer second.Close()
	if err := first.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	path, _ := cfg.Socket()
	c := must.Get(net.Dial("unix", path))(t)
	c.Close()
}

// TestFlood: those who connect as fast as they can never have more files open than the limit
// says, however the connections are served.
func TestFlood(t *testing.T) {
	const most, clients, held, flood = 20, 4, 10, 2000
	for what, loops := range map[string]bool{"goroutines": false, "loops": true} {
		t.Run(what, func(t *testing.T) {
			o := connectionsOf(t, config.Limits{Connections: most, ConnectionsPerAddress: 1000}, "127.0.0.1")
			l := must.Get(o.tcp("127.0.0.1:0", loops))(t)
			web := o.Gate(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			go web.Serve(l)
			t.Cleanup(func() { web.Close() })
			before := openFiles(t)
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					var open []net.Conn
					for range flood {
						c, err := net.Dial("tcp", l.Addr().String())
						if err != nil {
							t.Error(err)
							break
						}
						io.WriteString(c, "GET /api/verify HTTP/1.1\r\nHost: x\r\n\r\n")
						if open = append(open, c); len(open) == held {
							open[0].Close()
							open = open[1:]
						}
					}
					for _, c := range open {
						c.Close()
					}
				})
			}
			ended := make(chan bool)
			go func() { wg.Wait(); close(ended) }()
			peak := 0
			for done := false; !done; peak = max(peak, openFiles(t)-before) {
				select {
				case <-ended:
					done = true
				default:
				}
			}
			// Each client has one more for a moment, and so has the server when it accepts; a loop has its epoll.
			if most := most + clients*(held+1) + 2 + runtime.GOMAXPROCS(0); peak > most {
				t.Errorf("%d files were open, want %d at most", peak, most)
			}
		})
	}
}

// openFiles returns how many files are open, with the one that it needs.
func openFiles(t *testing.T) int {
	t.Helper()
	return len(must.Get(os.ReadDir("/proc/self/fd"))(t))
}
