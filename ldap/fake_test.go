package ldap

import (
	"bufio"
	"gatehouse/ldap/ldaptest"
	"net"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// request is one message that a client has sent.
type request struct {
	op       ber.Tag // 0 bind, 3 search, 23 extended
	dn       string  // of a bind or a base
	password string
	filter   string // written out again from what was sent
	raw      *ber.Packet
}

func parseRequest(p *ber.Packet) request {
	op := p.Children[1]
	r := request{op: op.Tag, raw: op}
	switch op.Tag {
	case goldap.ApplicationBindRequest:
		r.dn, _ = op.Children[1].Value.(string)
		r.password = op.Children[2].Data.String()
	case goldap.ApplicationSearchRequest:
		r.dn, _ = op.Children[0].Value.(string)
		r.filter, _ = goldap.DecompileFilter(op.Children[6])
	}
	return r
}

// fake is a directory server. The test writes every answer of it.
func fake(t testing.TB, answer func(request) []*ber.Packet) string {
	t.Helper()
	return ldaptest.Listen(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			p, err := ber.ReadPacket(in)
			if err != nil || len(p.Children) < 2 {
				return
			}
			if p.Children[1].Tag == goldap.ApplicationUnbindRequest {
				return
			}
			answers := answer(parseRequest(p))
			if answers == nil {
				return
			}
			for _, a := range answers {
				if _, err := c.Write(envelope(p.Children[0].Value.(int64), a).Bytes()); err != nil {
					return
				}
			}
		}
	})
}

// envelope wraps an answer. The controls of withControl become controls of the message.
func envelope(id int64, a *ber.Packet) *ber.Packet {
	p := ber.NewSequence("message")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	if a.Description == "with controls" {
		p.AppendChild(a.Children[0])
		p.AppendChild(a.Children[1])
		return p
	}
	p.AppendChild(a)
	return p
}

func text(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

func result(tag ber.Tag, code int, message string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""))
	p.AppendChild(text(""))
	p.AppendChild(text(message))
	return p
}

func bound(code int, message string) []*ber.Packet {
	return []*ber.Packet{result(goldap.ApplicationBindResponse, code, message)}
}

func done(code int) *ber.Packet { return result(goldap.ApplicationSearchResultDone, code, "") }

func withControl(a *ber.Packet, oid string, value []byte) *ber.Packet {
	control := ber.NewSequence("")
	control.AppendChild(text(oid))
	if value != nil {
		control.AppendChild(text(string(value)))
	}
	controls := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	controls.AppendChild(control)
	p := ber.NewSequence("with controls")
	p.AppendChild(a)
	p.AppendChild(controls)
	return p
}

func reference(url string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
	p.AppendChild(text(url))
	return p
}

func found(dn string, attributes map[string][]string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(text(dn))
	list := ber.NewSequence("")
	for name, values := range attributes {
		a := ber.NewSequence("")
		a.AppendChild(text(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(text(v))
		}
		a.AppendChild(set)
		list.AppendChild(a)
	}
	p.AppendChild(list)
	return p
}

// recorder stands between a Directory and a server, in plain text, and keeps
// what was asked.
type recorder struct {
	addr string
	mu   sync.Mutex
	seen []request
}

func record(t testing.TB, server string) *recorder {
	t.Helper()
	r := new(recorder)
	r.addr = ldaptest.Listen(t, func(client net.Conn) {
		upstream, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		defer upstream.Close()
		go func() {
			defer client.Close()
			bufio.NewReader(upstream).WriteTo(client)
		}()
		in := bufio.NewReader(client)
		for {
			p, err := ber.ReadPacket(in)
			if err != nil {
				return
			}
			r.mu.Lock()
			r.seen = append(r.seen, parseRequest(p))
			r.mu.Unlock()
			if _, err := upstream.Write(p.Bytes()); err != nil {
				return
			}
		}
	})
	return r
}

// take returns what was asked since the last call: searches, and binds except those of
// the service account.
func (r *recorder) take() (searches, binds []request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.seen {
		switch {
		case q.op == goldap.ApplicationSearchRequest:
			searches = append(searches, q)
		case q.op == goldap.ApplicationBindRequest && q.dn != readerDN:
			binds = append(binds, q)
		}
	}
	r.seen = nil
	return searches, binds
}

func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// plain is a configuration for servers that are part of a test.
func plain(addrs ...string) Config {
	c := Config{Insecure: true, BaseDN: peopleDN, BindDN: readerDN, BindPassword: "reader-secret", Timeout: roomy}
	for _, a := range addrs {
		c.URLs = append(c.URLs, "ldap://"+a)
	}
	return c
}

// isBase recognises the searches of a single entry.
func isBase(r request) bool { return r.raw.Children[1].Value.(int64) == goldap.ScopeBaseObject }

func has(s string, parts ...string) bool {
	for _, p := range parts {
		if !strings.Contains(s, p) {
			return false
		}
	}
	return true
}
