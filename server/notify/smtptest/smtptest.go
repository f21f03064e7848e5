// Package smtptest is a mail server for tests: SMTP with STARTTLS, or TLS from the first
// byte, and authentication. It keeps what it gets in memory.
package smtptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"gatehouse/storage/storagetest/must"
)

// Mail is a mail that the server got.
type Mail struct {
	From, To, Data, User string
	TLS                  bool
}

// Server is a mail server.
type Server struct {
	Address string // host:port
	CA      []byte // the authority of its certificate, in PEM; nil: it has no TLS

	user, password string
	server         *smtp.Server

	mu       sync.Mutex
	got      []Mail
	sessions int
	refuse   func(to string) error
}

// Options say what a server can do.
type Options struct {
	Address        string // default 127.0.0.1:0
	Host           string // the name in its certificate; empty: no TLS
	Implicit       bool   // TLS from the first byte
	User, Password string // who may send; empty: everybody
}

// New returns a server that runs until the test ends.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{user: o.User, password: o.Password}
	if o.Address == "" {
		o.Address = "127.0.0.1:0"
	}
	l := must.Get(net.Listen("tcp", o.Address))(t)
	s.Address = l.Addr().String()
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.sessions++
		return &session{s: s, conn: c}, nil
	}))
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	s.server.Domain, s.server.AllowInsecureAuth = "mail.example.com", o.Host == ""
	if o.Host != "" {
		s.server.TLSConfig = s.certificate(t, o.Host)
		if o.Implicit {
			l = tls.NewListener(l, s.server.TLSConfig)
		}
	}
	go s.server.Serve(l)
	t.Cleanup(func() { s.server.Close() })
	return s
}

// Close ends the server before the test does.
func (s *Server) Close() { s.server.Close() }

// Mails returns what the server got so far.
func (s *Server) Mails() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// Sessions returns how many connections there were.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// Refuse sets a function that decides who gets mail.
func (s *Server) Refuse(f func(to string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuse = f
}

func (s *Server) certificate(t testing.TB, host string) *tls.Config {
	key := must.Get(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{host}
	}
	der := must.Get(x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key))(t)
	s.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// session is one connection.
type session struct {
	s    *Server
	conn *smtp.Conn
	user string
	mail Mail
}

func (c *session) AuthMechanisms() []string {
	if c.s.user == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (c *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != c.s.user || password != c.s.password {
			return errors.New("wrong user or password")
		}
		c.user = user
		return nil
	}), nil
}

func (c *session) Mail(from string, _ *smtp.MailOptions) error {
	if c.s.user != c.user {
		return smtp.ErrAuthRequired
	}
	_, on := c.conn.TLSConnectionState()
	c.mail = Mail{From: from, User: c.user, TLS: on}
	return nil
}

func (c *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	c.s.mu.Lock()
	refuse := c.s.refuse
	c.s.mu.Unlock()
	c.mail.To = to
	if refuse != nil {
		return refuse(to)
	}
	return nil
}

func (c *session) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.mail.Data = string(b)
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.got = append(c.s.got, c.mail)
	return nil
}

func (c *session) Reset()        {}
func (c *session) Logout() error { return nil }
