package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestBrokenOff: a client that does not end its request keeps no stop from being a clean
// one.
func TestBrokenOff(t *testing.T) {
	h := newHouse(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web, active := HTTP(h.Handler(), h.Server.log), make(chan bool, 1)
	web.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateActive {
			active <- true
		}
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	io.WriteString(client, "POST /api/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	<-active
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.shutdown(ctx, web); err != nil {
		t.Errorf("got %v", err)
	}
	if b, err := io.ReadAll(client); len(b) > 0 {
		t.Errorf("the client got %q, %v", b, err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
	if !strings.Contains(h.log.String(), "broken off") {
		t.Error("the log does not tell")
	}
}

// TestEnds: sweeps that ended are not said to be broken off because requests took all
// the time that there was.
func TestEnds(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	running, ended := make(chan struct{}), make(chan struct{})
	close(ended)
	for range 100 {
		if !ends(over, ended) {
			t.Fatal("what has ended is said to be broken off")
		}
	}
	if ends(over, running) {
		t.Error("what runs is said to have ended")
	}
	if !ends(t.Context(), ended) {
		t.Error("what has ended is said to be broken off, with time left")
	}
}
