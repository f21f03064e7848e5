package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"gatehouse/server/listen"
)

// emptyMode is the argument with which the command runs itself as the empty
// handler.
const emptyMode = "empty"

// answer is what the gate was seen to send, and what the empty handler sends for every
// request.
type answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// record asks once. Date and Content-Length are left to net/http, unless the
// gate has set the length itself, for a body.
func record(by http.RoundTripper, url, header string) (a answer, err error) {
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return a, err
	}
	name, value, _ := strings.Cut(header, ": ")
	r.Header.Set(name, value)
	resp, err := by.RoundTrip(r)
	if err != nil {
		return a, err
	}
	defer resp.Body.Close()
	a.Status, a.Header = resp.StatusCode, resp.Header
	a.Header.Del("Date")
	if a.Body, err = io.ReadAll(resp.Body); len(a.Body) == 0 {
		a.Header.Del("Content-Length")
	}
	return a, err
}

// empty serves the answer that it reads at a unix socket, or at a TCP port if that is empty,
// and writes its address.
func empty(socket string, in io.Reader, out io.Writer) error {
	var a answer
	if err := json.NewDecoder(in).Decode(&a); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	network, address := "tcp", "127.0.0.1:0"
	if socket != "" {
		network, address = "unix", socket
	}
	l, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "msg=listening url=http://%s\n", l.Addr())
	return listen.HTTP(a.handler(), slog.New(slog.DiscardHandler)).Serve(l)
}

// handler allocates nothing, and decides nothing.
func (a answer) handler() http.Handler {
	type field struct {
		name   string
		values []string
	}
	var fields []field
	for name, values := range a.Header {
		fields = append(fields, field{name, values})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		for _, f := range fields {
			h[f.name] = f.values
		}
		w.WriteHeader(a.Status)
		if len(a.Body) > 0 {
			w.Write(a.Body)
		}
	})
}
