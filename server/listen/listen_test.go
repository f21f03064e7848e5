package listen_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"gatehouse/server/listen"
	"gatehouse/storage/storagetest/must"
)

// TestBrokenOff: if a client does not end its request, the stop is still clean.
func TestBrokenOff(t *testing.T) {
	var logged bytes.Buffer
	log := slog.New(slog.NewTextHandler(&logged, nil))
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	reading := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	web, active := listen.HTTP(reading, log), make(chan bool, 1)
	web.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateActive {
			active <- true
		}
	}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	client := must.Get(net.Dial("tcp", l.Addr().String()))(t)
	defer client.Close()
	io.WriteString(client, "POST /api/revoke HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
	<-active
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := listen.Shutdown(ctx, web, log); err != nil {
		t.Errorf("got %v", err)
	}
	if b, err := io.ReadAll(client); len(b) > 0 {
		t.Errorf("the client got %q, %v", b, err)
	}
	if err := <-served; err != http.ErrServerClosed {
		t.Error(err)
	}
	if !strings.Contains(logged.String(), "cut off") {
		t.Error("the log does not tell")
	}
}
