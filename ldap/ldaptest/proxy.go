package ldaptest

import (
	"bufio"
	"io"
	"net"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/storage/storagetest/must"
)

// Proxy stands between a client and a server, in plain text, and spoils answers.
type Proxy struct {
	Addr string

	server string
	mu     sync.Mutex
	spoil  func(Search) Fault
}

// Search is a search that a client has sent.
type Search struct {
	Base       string
	Scope      int64
	Filter     string
	Attributes []string
}

// Fault says how to spoil the answer to a search. The zero value passes it on unchanged.
type Fault struct {
	Code      uint16              // the result code to send instead of the server's own
	Cut       bool                // close the connection instead of sending the end of the answer
	Refer     bool                // add a reference to another server
	Keep      func(n int) bool    // whether to pass on the entry with this number; nil: pass on all
	Delivered func(*goldap.Entry) // called with each entry that is passed on
}

// Listen serves connections until the test ends, and closes them then. It returns the
// address.
func Listen(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String()
}

// NewProxy runs a Proxy until the test ends. It calls spoil for each search.
func NewProxy(t testing.TB, server string, spoil func(Search) Fault) *Proxy {
	t.Helper()
	p := &Proxy{server: server, spoil: spoil}
	p.Addr = Listen(t, p.serve)
	return p
}

// serve passes on one request after another, each with its whole answer.
func (p *Proxy) serve(client net.Conn) {
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer server.Close()
	in, out := bufio.NewReader(client), bufio.NewReader(server)
	for {
		request, err := ber.ReadPacket(in)
		if err != nil || len(request.Children) < 2 {
			return
		}
		if _, err := server.Write(request.Bytes()); err != nil {
			return
		}
		op := request.Children[1]
		if op.Tag == goldap.ApplicationUnbindRequest {
			return
		}
		var fault Fault
		if op.Tag == goldap.ApplicationSearchRequest {
			p.mu.Lock()
			fault = p.spoil(search(op))
			p.mu.Unlock()
		}
		if fault.answer(client, out) != nil {
			return
		}
	}
}

func search(op *ber.Packet) Search {
	var s Search
	s.Base, _ = op.Children[0].Value.(string)
	s.Scope, _ = op.Children[1].Value.(int64)
	s.Filter, _ = goldap.DecompileFilter(op.Children[6])
	for _, a := range op.Children[7].Children {
		name, _ := a.Value.(string)
		s.Attributes = append(s.Attributes, name)
	}
	return s
}

// answer passes the server's answer on, as far as the fault lets it.
func (f Fault) answer(client io.Writer, server *bufio.Reader) error {
	for n := 0; ; {
		p, err := ber.ReadPacket(server)
		if err != nil {
			return err
		}
		op := p.Children[1]
		end := op.Tag != goldap.ApplicationSearchResultEntry && op.Tag != goldap.ApplicationSearchResultReference
		if op.Tag == goldap.ApplicationSearchResultEntry {
			n++
			if f.Keep != nil && !f.Keep(n-1) {
				continue
			}
			if f.Delivered != nil {
				f.Delivered(entry(op))
			}
		}
		if end && f.Cut {
			return io.ErrClosedPipe
		}
		if end && f.Refer {
			elsewhere := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
			elsewhere.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "ldap://elsewhere.example/", ""))
			if _, err := client.Write(message(p, elsewhere).Bytes()); err != nil {
				return err
			}
		}
		if end && f.Code != 0 {
			done := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultDone, nil, "")
			done.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(f.Code), ""))
			done.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", ""))
			done.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "spoiled", ""))
			p = message(p, done)
		}
		if _, err := client.Write(p.Bytes()); err != nil || end {
			return err
		}
	}
}

// message wraps answer in a message with the ID of like.
func message(like, answer *ber.Packet) *ber.Packet {
	p := ber.NewSequence("")
	id, _ := like.Children[0].Value.(int64)
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	p.AppendChild(answer)
	return p
}

func entry(op *ber.Packet) *goldap.Entry {
	e := new(goldap.Entry)
	e.DN, _ = op.Children[0].Value.(string)
	for _, a := range op.Children[1].Children {
		name, _ := a.Children[0].Value.(string)
		values := []string{}
		for _, v := range a.Children[1].Children {
			value, _ := v.Value.(string)
			values = append(values, value)
		}
		e.Attributes = append(e.Attributes, goldap.NewEntryAttribute(name, values))
	}
	return e
}
