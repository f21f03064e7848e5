package listen

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"testing"
	"time"

	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// connected returns the two ends of a connection, ours and a client's.
func connected(t *testing.T) (*conn, net.Conn) {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	client := must.Get(net.Dial("tcp", l.Addr().String()))(t)
	ours := must.Get(listener{l.(*net.TCPListener), anyConnections(t), false}.Accept())(t)
	t.Cleanup(func() { client.Close(); ours.Close() })
	return ours.(*conn), client
}

func TestHolds(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Unix(1_000_000, 0).Add(d) }
	var never time.Time
	for _, c := range []struct {
		what          string
		force, wanted time.Time
		want          bool
	}{
		{"none for none", never, never, true},
		{"none for one", never, at(0), false},
		{"one for none", at(0), never, false},
		{"the same", at(0), at(0), true},
		{"a little earlier than wanted", at(0), at(slack - 1), true},
		{"a slack earlier than wanted", at(0), at(slack), false},
		{"later than wanted", at(1), at(0), false},
	} {
		d := deadline{force: c.force, wanted: c.wanted}
		if got := d.holds(); got != c.want {
			t.Errorf("%s: got %t, want %t", c.what, got, c.want)
		}
	}
}

// A deadline ends a Read, whether it was set before or during the Read. A deadline that
// is moved in time does not.
func TestConnReadDeadline(t *testing.T) {
	ours, client := connected(t)
	b := make([]byte, 1)
	late := func(what string) {
		t.Helper()
		var timeout net.Error
		if _, err := ours.Read(b); !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%s: got %v, want a timeout", what, err)
		}
	}
	send := func(what string) {
		t.Helper()
		must.Get(client.Write([]byte("x")))(t)
		if n, err := ours.Read(b); n != 1 || err != nil {
			t.Fatalf("%s: got %d bytes, %v", what, n, err)
		}
	}
	send("without a deadline")
	ours.SetReadDeadline(time.Now().Add(time.Hour))
	send("in time")
	ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	late("an earlier one")
	ours.SetReadDeadline(time.Time{})
	send("none again")
	ours.SetReadDeadline(time.Unix(1, 0))
	late("long ago")
	ours.SetReadDeadline(time.Now().Add(time.Hour))
	send("after that")
	go func() {
		for waiting := false; !waiting; time.Sleep(time.Millisecond) {
			waiting = inUse(&ours.read)
		}
		ours.SetReadDeadline(time.Unix(1, 0))
	}()
	late("in between")
	ours.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	ours.SetReadDeadline(time.Now().Add(time.Hour))
	send("moved on before it came into force")
}

// inUse reports whether somebody reads, or writes, just now.
func inUse(d *deadline) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.users > 0
}

// A deadline ends a Write to somebody who does not read, whether it was set before or
// during the Write.
func TestConnWriteDeadline(t *testing.T) {
	ours, client := connected(t)
	read := make(chan error, 1)
	write := func(what string) {
		t.Helper()
		if _, err := ours.Write([]byte("x")); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		go func() { _, err := client.Read(make([]byte, 1)); read <- err }()
		if err := <-read; err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	late := func(what string) {
		t.Helper()
		for err := error(nil); !errors.Is(err, os.ErrDeadlineExceeded); {
			if _, err = ours.Write(make([]byte, 1<<20)); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: got %v, want a timeout", what, err)
			}
		}
	}
	ours.SetWriteDeadline(time.Now().Add(time.Hour))
	write("in time")
	ours.SetWriteDeadline(time.Time{})
	write("without a deadline")
	ours.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	late("before")
	ours.SetWriteDeadline(time.Now().Add(time.Hour))
	go func() {
		for !inUse(&ours.write) {
			time.Sleep(time.Millisecond)
		}
		ours.SetWriteDeadline(time.Unix(1, 0))
	}()
	late("in between")
}

// Others get their turn after every second answer, and without an answer nobody does.
func TestAnswers(t *testing.T) {
	var a answers
	var got []bool
	for range 4 {
		a.given()
		got = append(got, a.mayYield())
	}
	if want := []bool{true, false, true, false}; !slices.Equal(got, want) {
		t.Errorf("got %t, want %t", got, want)
	}
	if a.mayYield() {
		t.Error("without an answer: got true")
	}
}

// The limits of a connection hold on a real server: a client that sends half a header, or
// nothing, is let go; one that waits between two requests, or sends two at once, is not.
func TestConnLimits(t *testing.T) {
	storagetest.Slow(t)
	open := anyConnections(t)
	handler := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for what, c := range map[string]struct {
		web   Web
		loops bool
		path  string
	}{
		"net/http":       {open.HTTP(handler), false, "/healthz"},
		"a question":     {open.Port(handler), false, "/api/verify"},
		"what is passed": {open.Port(handler), false, "/healthz"},
		"loops":          {open.Gate(handler), true, "/api/verify"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			l := must.Get(open.tcp("127.0.0.1:0", c.loops))(t)
			go c.web.Serve(l)
			t.Cleanup(func() { c.web.Close() })
			connLimits(t, l.Addr().String(), "GET "+c.path+" HTTP/1.1\r\nHost: x\r\n\r\n", !c.loops)
		})
	}
}

// connLimits tries the limits. Only on the gate's own address a client need not say anything at first.
func connLimits(t *testing.T, addr, request string, speaks bool) {
	dial := func() (net.Conn, *bufio.Reader) {
		c := must.Get(net.Dial("tcp", addr))(t)
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}
	answered := func(what string, r *bufio.Reader) {
		t.Helper()
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %v, %v, want %d", what, resp, err, http.StatusOK)
		}
		io.Copy(io.Discard, resp.Body)
	}
	start := time.Now()
	_, silent := dial()
	slow, half := dial()
	io.WriteString(slow, request[:len(request)-2]) // the empty line is missing
	later, second := dial()
	busy, answers := dial()
	for range 3 {
		io.WriteString(busy, request)
		answered("one by one", answers)
	}
	io.WriteString(busy, request+request)
	answered("two at once", answers)
	answered("two at once", answers)
	io.WriteString(later, request+request[:len(request)-2])
	answered("one and a half", second)
	ended := map[string]*bufio.Reader{"half a header": half, "one and a half": second}
	if speaks {
		ended["nothing"] = silent
	}
	for what, r := range ended {
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("%s: got %v, want the end", what, err)
		}
	}
	if waited := time.Since(start); waited < readHeaderTimeout-slack-time.Second {
		t.Errorf("let go after %v, want about %v", waited, readHeaderTimeout)
	}
	io.WriteString(busy, request)
	answered("after a pause longer than a header may take", answers)
}
