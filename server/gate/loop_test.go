package gate_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"gatehouse/server/gate"
	"gatehouse/storage/storagetest/must"
)

// loops serves with loops alone.
func loops(l net.Listener) net.Listener { return sockets{l} }

// asking returns a question with a token.
func asking(token string) string {
	return "GET " + gate.Path + " HTTP/1.1\r\nHost: x\r\nX-Auth-Token: " + token + "\r\n\r\n"
}

// echoToken answers with the token that was sent.
func echoToken(w http.ResponseWriter, r *http.Request) {
	w.Header()["Token"] = []string{r.Header.Get("X-Auth-Token")}
}

// wantTokens reads answers to questions with these tokens.
func wantTokens(t *testing.T, from *bufio.Reader, tokens ...string) {
	t.Helper()
	for _, token := range tokens {
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatalf("%s: %v", token, err)
		}
		if got := resp.Header.Get("Token"); got != token {
			t.Fatalf("the answer is for %q, want %q", got, token)
		}
		must.Get(io.Copy(io.Discard, resp.Body))(t)
	}
}

// TestSockets: loops give the answers that a goroutine gives to the same bytes, however those
// come.
func TestSockets(t *testing.T) {
	s := &gate.Server{Limits: long(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		new := r.WithContext(context.WithValue(r.Context(), memoryKey{}, newMemory(nil)))
		echo(w, new)
	})}
	addr, _ := way(loops).serve(t, s)
	p := newPair(t)
	for _, c := range cases {
		raw := wire(c.raw)
		m := newMemory(raw)
		p.gate.ServeConn(m)
		want := undated(m.out)
		for what, size := range map[string]int{"whole": len(raw), "in halves": len(raw)/2 + 1, "in small parts": len(raw)/100 + 1} {
			conn := call(t, addr)
			for rest := raw; len(rest) > 0; {
				n := min(size, len(rest))
				if _, err := conn.Write(rest[:n]); err != nil {
					break // it was refused before the end
				}
				rest = rest[n:]
			}
			conn.(*net.TCPConn).CloseWrite()
			got, err := io.ReadAll(conn)
			if errors.Is(err, unix.ECONNRESET) && strings.Contains(string(got), "Connection: close") {
				err = nil // what came later was not read any more
			}
			if got = undated(got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: got %.300q, %v, want %.300q", c.what, what, got, err, want)
			}
		}
	}
}

// TestWaits: a handler that waits holds up its own connection alone, and that goes on afterwards.
func TestWaits(t *testing.T) {
	waits, goOn := make(chan bool), make(chan bool)
	s := &gate.Server{Limits: long(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		echoToken(w, r)
		if r.Header.Get("X-Auth-Token") == "slow" {
			if wait := gate.BeforeWait(r.Context()); r.URL.Path == gate.Path { // another path may always wait
				wait()
				wait() // again, which changes nothing
			}
			waits <- true
			<-goOn
		}
	})}
	addr, _ := way(loops).serve(t, s)
	const n = 20
	var slow, quick []*bufio.Reader
	var ends []net.Conn
	for i := range n {
		c := call(t, addr)
		ask := asking("slow")
		if i%2 == 0 {
			ask = strings.Replace(ask, gate.Path, "/healthz", 1)
		}
		io.WriteString(c, asking("quick")+ask+asking("quick"))
		<-waits
		slow, ends = append(slow, bufio.NewReader(c)), append(ends, c)
		c = call(t, addr)
		quick = append(quick, bufio.NewReader(c))
		for range 3 {
			io.WriteString(c, asking("other"))
			wantTokens(t, quick[len(quick)-1], "other")
		}
	}
	close(goOn)
	for i, from := range slow {
		wantTokens(t, from, "quick", "slow", "quick")
		for range 3 {
			io.WriteString(ends[i], asking("again"))
			wantTokens(t, from, "again")
		}
	}
}

// TestWaitsLong: a connection whose handler waits is in none of the client's limits.
func TestWaitsLong(t *testing.T) {
	waits, goOn := make(chan bool), make(chan bool)
	quick := 50 * time.Millisecond
	s := &gate.Server{Limits: gate.Limits{Header: quick, Idle: quick, Write: quick}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		echoToken(w, r)
		gate.BeforeWait(r.Context())()
		waits <- true
		<-goOn
	})}
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	c := call(t, l.Addr().String())
	io.WriteString(c, asking("long")) // before anything is taken for too slow
	go s.Serve(sockets{l})
	t.Cleanup(func() { s.Close() })
	<-waits
	for range 2 { // each is closed when the limits are looked at
		wantEnd(t, "one that sends nothing", call(t, l.Addr().String()))
	}
	close(goOn)
	wantTokens(t, bufio.NewReader(c), "long")
}

// TestClosedBefore: a socket that was closed before the server got it is left alone. Its number
// may be another file's by then.
func TestClosedBefore(t *testing.T) {
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	first := call(t, l.Addr().String())
	closed := must.Get(sockets{l}.Accept())(t)
	must.Do(t, closed.Close())
	defer must.Get(os.Open(os.DevNull))(t).Close() // takes the number that the accepted connection had
	r, w := must.Get2(os.Pipe())(t)                // r takes the socket's
	defer r.Close()
	list := make(chan net.Conn, 1)
	list <- closed
	s := &gate.Server{Limits: long(), Handler: http.HandlerFunc(echoToken)}
	go s.Serve(given{sockets{l}, list})
	t.Cleanup(func() { s.Close() })
	wantEnd(t, "closed before", first)
	c := call(t, l.Addr().String())
	io.WriteString(c, asking("a"))
	wantTokens(t, bufio.NewReader(c), "a")
	io.WriteString(w, "x")
	w.Close()
	if b, err := io.ReadAll(r); string(b) != "x" || err != nil {
		t.Errorf("got %q, %v from a file of another", b, err)
	}
}

// given is a listener that returns connections from a list first.
type given struct {
	net.Listener
	list chan net.Conn
}

func (l given) Accept() (net.Conn, error) {
	select {
	case c := <-l.list:
		return c, nil
	default:
		return l.Listener.Accept()
	}
}

// TestWaitsAndEnds: while a handler waits, its connection may be closed, the handler may panic,
// and the server may stop.
func TestWaitsAndEnds(t *testing.T) {
	waits, goOn := make(chan bool), make(chan bool)
	var conns sync.Map
	s := &gate.Server{Limits: long(), ErrorLog: log.New(io.Discard, "", 0),
		ConnState: func(c net.Conn, _ http.ConnState) { conns.Store(c.RemoteAddr().String(), c) },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			echoToken(w, r)
			gate.BeforeWait(r.Context())()
			waits <- true
			<-goOn
			if r.Header.Get("X-Auth-Token") == "panic" {
				panic("as it may")
			}
		})}
	addr, _ := way(loops).serve(t, s)
	var calls []net.Conn
	for _, what := range []string{"cut", "panic", "left", "stop"} {
		c := call(t, addr)
		io.WriteString(c, asking(what))
		<-waits
		calls = append(calls, c)
	}
	ours, _ := conns.Load(calls[0].LocalAddr().String())
	ours.(net.Conn).Close()
	calls[2].Close()
	wantEnd(t, "closed", calls[0])
	short, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(short); !errors.Is(err, context.Canceled) {
		t.Errorf("with requests under way: got %v", err)
	}
	close(goOn)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Errorf("after them: got %v", err)
	}
	wantEnd(t, "a panic", calls[1])
	from := bufio.NewReader(calls[3])
	wantTokens(t, from, "stop")
	if b, err := io.ReadAll(from); err != nil || len(b) > 0 {
		t.Errorf("after the answer: got %q, %v", b, err)
	}
}

// TestStopsAfterClose: Shutdown waits for a handler, also if its connection has been closed.
func TestStopsAfterClose(t *testing.T) {
	for what, waits := range map[string]bool{"in the loop": false, "alone": true} {
		t.Run(what, func(t *testing.T) {
			var ours net.Conn
			under, goOn := make(chan bool), make(chan bool)
			s := &gate.Server{Limits: long(), ConnState: func(c net.Conn, _ http.ConnState) { ours = c },
				Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if waits {
						gate.BeforeWait(r.Context())()
					}
					under <- true
					<-goOn
				})}
			addr, _ := way(loops).serve(t, s)
			c := call(t, addr)
			io.WriteString(c, asking("a"))
			<-under
			ours.Close()
			short, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Shutdown(short); !errors.Is(err, context.Canceled) {
				t.Errorf("with the handler under way: got %v", err)
			}
			close(goOn)
			must.Do(t, s.Shutdown(t.Context()))
		})
	}
}

// TestManyAtOnce: a limit holds, too, after as many connections had something at once as epoll
// tells of, and after the loop was held up.
func TestManyAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2)) // so there is one loop
	for _, n := range []int{63, 200} {
		under := make(chan bool)
		addr, _ := way(loops).serve(t, &gate.Server{Limits: gate.Limits{Header: 50 * time.Millisecond, Idle: patience, Write: patience},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if echoToken(w, r); r.Header.Get("X-Auth-Token") == "holds" {
					<-under
					time.Sleep(1200 * time.Millisecond) // longer than from one look at the limits to the next
				}
			})})
		var many []net.Conn
		for range n {
			c := call(t, addr)
			io.WriteString(c, asking("a"))
			wantTokens(t, bufio.NewReader(c), "a")
			many = append(many, c)
		}
		holds, half := call(t, addr), call(t, addr)
		io.WriteString(half, asking("half"))
		wantTokens(t, bufio.NewReader(half), "half")
		io.WriteString(holds, asking("holds"))
		under <- true
		io.WriteString(half, "GET /")
		for _, c := range many {
			io.WriteString(c, asking("b"))
		}
		for _, c := range many {
			wantTokens(t, bufio.NewReader(c), "b")
		}
		if _, err := io.ReadAll(half); err != nil && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%d at once: half a request: got %v, want the end", n, err)
		}
	}
}

// TestSignals: a limit holds even if signals come all the time.
func TestSignals(t *testing.T) {
	addr, _ := way(loops).serve(t, &gate.Server{Limits: gate.Limits{Header: patience, Idle: 50 * time.Millisecond, Write: patience}})
	ended := make(chan bool)
	go func() {
		wantEnd(t, "nothing sent", call(t, addr))
		close(ended)
	}()
	for {
		select {
		case <-ended:
			return
		case <-time.After(20 * time.Millisecond):
			tasks := must.Get(os.ReadDir("/proc/self/task"))(t)
			for _, task := range tasks {
				tid, _ := strconv.Atoi(task.Name())
				unix.Tgkill(os.Getpid(), tid, unix.SIGURG) // as the scheduler sends it
			}
		}
	}
}

// TestCopiedSocket: a closed connection is out of the loop, even if another process still has a
// copy of its file, as one has that is just being started.
func TestCopiedSocket(t *testing.T) {
	taken := make(chan net.Conn, 1)
	by := way(func(l net.Listener) net.Listener { return tapped{sockets{l}, taken} })
	addr, _ := by.serve(t, &gate.Server{Limits: long(), Handler: http.HandlerFunc(echoToken)})
	c := call(t, addr)
	io.WriteString(c, asking("a"))
	wantTokens(t, bufio.NewReader(c), "a")
	ours := (<-taken).(*gate.Socket)
	number := ours.Number()
	if !watched(t, number) {
		t.Error("the test does not find what the loop waits for")
	}
	kept := must.Get(unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 0))(t)
	defer unix.Close(kept)
	must.Do(t, ours.Close())
	if watched(t, number) {
		t.Error("the loop still waits for the connection")
	}
}

// watched reports whether an epoll waits for a file with this number.
func watched(t *testing.T, number int) bool {
	t.Helper()
	infos := must.Get(filepath.Glob("/proc/self/fdinfo/*"))(t)
	return slices.ContainsFunc(infos, func(name string) bool {
		info, _ := os.ReadFile(name) // it may be closed by now
		return regexp.MustCompile(fmt.Sprintf(`(?m)^tfd: +%d `, number)).Match(info)
	})
}

// tapped is a listener that also sends its connections to a channel.
type tapped struct {
	net.Listener
	to chan net.Conn
}

func (l tapped) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.to <- c
	}
	return c, err
}

// TestUnread: a client that reads no answers holds up nobody, and gets all of them once it
// reads. It may take as long as the limit says.
func TestUnread(t *testing.T) {
	const n = 200
	answer := make([]byte, 64<<10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if echoToken(w, r); r.Header.Get("X-Auth-Token") != "other" {
			w.Write(answer)
		}
	})
	var all strings.Builder
	var tokens []string
	for i := range n {
		tokens = append(tokens, fmt.Sprint(i))
		all.WriteString(asking(tokens[i]))
	}
	for what, limits := range map[string]gate.Limits{"reads": long(), "does not": {Header: patience, Idle: patience, Write: 50 * time.Millisecond}} {
		t.Run(what, func(t *testing.T) {
			closed := make(chan bool, 1)
			by := way(func(l net.Listener) net.Listener { return noted{sockets{l}, closed} })
			addr, _ := by.serve(t, &gate.Server{Limits: limits, Handler: handler})
			c := call(t, addr)
			must.Do(t, c.(*net.TCPConn).SetReadBuffer(64<<10))
			written := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c, all.String())
				written <- err
			}()
			from := bufio.NewReader(c)
			if limits.Write == patience { // else it may be closed before it reads
				wantTokens(t, from, tokens[0])
			}
			for range 100 {
				o := call(t, addr)
				io.WriteString(o, asking("other"))
				wantTokens(t, bufio.NewReader(o), "other")
			}
			if limits.Write == patience {
				wantTokens(t, from, tokens[1:]...)
				must.Do(t, <-written)
				return
			}
			<-closed
			if got, err := io.Copy(io.Discard, from); got >= int64((n-1)*len(answer)) {
				t.Errorf("all of it was still read: %d bytes, %v", got, err)
			}
		})
	}
}

// noted is a listener that tells when a connection is closed.
type noted struct {
	net.Listener
	closed chan bool
}

func (l noted) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return notedConn{c, l.closed}, nil
}

type notedConn struct {
	net.Conn
	closed chan bool
}

func (c notedConn) Socket() *gate.Socket { return c.Conn.(*gate.Socket) }

func (c notedConn) Close() error {
	select {
	case c.closed <- true:
	default:
	}
	return c.Conn.Close()
}

// TestClosedAnyTime: connections that are closed by others, or by their clients, at any time leave no
// file open and never touch another's.
func TestClosedAnyTime(t *testing.T) {
	before := files(t)
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	s := &gate.Server{Limits: long(),
		ConnState: func(c net.Conn, state http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			open[c] = true
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if echoToken(w, r); rand.IntN(5) == 0 {
				gate.BeforeWait(r.Context())()
			}
		})}
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(sockets{l}) }()
	var wrong, answered atomic.Int64
	stop := make(chan bool)
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					wrong.Add(1)
					return
				}
				from := bufio.NewReader(c)
				for range rand.IntN(20) {
					token := fmt.Sprint(rand.Uint64())
					io.WriteString(c, asking(token))
					resp, err := http.ReadResponse(from, nil)
					if err != nil {
						break // somebody closed it
					}
					if answered.Add(1); resp.Header.Get("Token") != token {
						wrong.Add(1)
					}
				}
				c.Close()
			}
		})
	}
	clients.Go(func() { // files of others, with the numbers of those that are closed
		for {
			select {
			case <-stop:
				return
			default:
			}
			r, w, err := os.Pipe()
			if err != nil {
				continue
			}
			io.WriteString(w, "x")
			w.Close()
			if b, err := io.ReadAll(r); string(b) != "x" || err != nil || r.Close() != nil {
				wrong.Add(1)
			}
		}
	})
	for answered.Load() < 3000 {
		time.Sleep(time.Millisecond)
		mu.Lock()
		for c := range open {
			delete(open, c)
			c.Close()
			break
		}
		mu.Unlock()
	}
	close(stop)
	clients.Wait()
	must.Do(t, s.Shutdown(t.Context()))
	if err := <-ended; err != http.ErrServerClosed {
		t.Errorf("Serve returned %v", err)
	}
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d times a file or an answer was another's", n)
	}
	for began := time.Now(); files(t) > before; time.Sleep(10 * time.Millisecond) { // a loop ends within a second
		if time.Since(began) > patience {
			t.Fatalf("%d files are open, before %d", files(t), before)
		}
	}
}

// files returns how many files are open.
func files(t *testing.T) int {
	t.Helper()
	return len(must.Get(os.ReadDir("/proc/self/fd"))(t))
}
