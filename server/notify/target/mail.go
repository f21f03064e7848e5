package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const (
	mailTime = 30 * time.Second
	mailIdle = 5 * time.Second // how long a connection waits for the next mail
)

// MailConfig says how mail is sent.
type MailConfig struct {
	URL      string // smtp://host:25 or smtps://host:465
	From     string
	User     string // empty: without authentication
	Password string
	TLS      *tls.Config // nil: the system's authorities
}

// Validate returns an error unless the URL names a server. Package config adds the key.
func (c MailConfig) Validate() error {
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" {
		return errors.New("is not a mail server such as smtp://mail.example.com:25 or smtps://mail.example.com")
	}
	return nil
}

// Mail is a server that takes mail, by SMTP (RFC 5321).
//
// With smtp:// it must offer STARTTLS (RFC 3207) and have a valid certificate. Only a
// server on this host may do without, unless TLS is configured.
type Mail struct {
	MailConfig
	address, host string
	implicit      bool // TLS from the first byte
	startTLS      bool
	from          *mail.Address
	dial          func(ctx context.Context, network, address string) (net.Conn, error)

	mu   sync.Mutex
	idle []*smtpSession
}

// NewMail returns the target of a valid configuration.
func NewMail(c MailConfig) (*Mail, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	u, _ := url.Parse(c.URL)
	m := &Mail{MailConfig: c, host: u.Hostname(), implicit: u.Scheme == "smtps", dial: (&net.Dialer{}).DialContext}
	m.startTLS = !m.implicit && (!Loopback(m.host) || c.TLS != nil)
	port := u.Port()
	if port == "" {
		if port = "25"; m.implicit {
			port = "465"
		}
	}
	m.address = net.JoinHostPort(m.host, port)
	from, err := mail.ParseAddress(c.From)
	m.from = from
	return m, err
}

// Name implements [Target].
func (t *Mail) Name() string { return NameMail }

// Sender returns the address that mail comes from.
func (t *Mail) Sender() string { return t.from.Address }

// Close implements [Target].
func (t *Mail) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, s := range t.idle {
		s.Close()
	}
	t.idle = nil
}

// smtpSession is a connection to the server that is ready for a mail.
type smtpSession struct {
	*smtp.Client
	used  time.Time
	fresh bool
}

// Deliver sends a mail. The answer is the server's to the whole of it.
func (t *Mail) Deliver(ctx context.Context, m Message) (answer string, err error) {
	to, err := mail.ParseAddress("<" + m.To + ">")
	if err != nil || to.Address != m.To {
		return "", &RefusedError{errors.New("the user's name is not a mail address"), true}
	}
	ctx, cancel := context.WithTimeout(ctx, mailTime)
	defer cancel()
	for {
		s, err := t.session(ctx)
		if err != nil {
			return "", err
		}
		stop := context.AfterFunc(ctx, func() { s.Close() })
		answer, begun, err := t.send(s, to.Address, m)
		if stop(); err == nil && ctx.Err() == nil {
			t.keep(s)
			return answer, nil
		}
		s.Close()
		if err == nil {
			return answer, nil
		}
		if errors.As(err, new(*smtp.SMTPError)) || begun || s.fresh {
			return "", err
		}
		// The server has closed a connection that was idle. Nothing was sent: another one.
	}
}

// session returns an idle connection, or a new one.
func (t *Mail) session(ctx context.Context) (*smtpSession, error) {
	t.mu.Lock()
	for n := len(t.idle); n > 0; n = len(t.idle) {
		s := t.idle[n-1]
		t.idle = t.idle[:n-1]
		if time.Since(s.used) < mailIdle {
			t.mu.Unlock()
			return s, nil
		}
		s.Close()
	}
	t.mu.Unlock()
	c, err := t.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.address, err)
	}
	return &smtpSession{Client: c, fresh: true}, nil
}

func (t *Mail) keep(s *smtpSession) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s.used, s.fresh = time.Now(), false
	t.idle = append(t.idle, s)
	time.AfterFunc(2*mailIdle, t.expire)
}

// expire closes what was idle for too long.
func (t *Mail) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := t.idle[:0]
	for _, s := range t.idle {
		if time.Since(s.used) < mailIdle {
			kept = append(kept, s)
			continue
		}
		s.Quit()
	}
	t.idle = kept
}

// connect connects, encrypts and authenticates.
func (t *Mail) connect(ctx context.Context) (c *smtp.Client, err error) {
	conn, err := t.dial(ctx, "tcp", t.address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(mailTime))
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		stop()
		if err != nil {
			conn.Close()
		}
	}()
	settings := &tls.Config{ServerName: t.host, MinVersion: tls.VersionTLS12}
	if t.TLS != nil {
		settings.RootCAs = t.TLS.RootCAs
	}
	switch {
	case t.implicit:
		c = smtp.NewClient(tls.Client(conn, settings))
	case t.startTLS:
		if c, err = smtp.NewClientStartTLS(conn, settings); err != nil {
			return nil, fmt.Errorf("STARTTLS: %w", err)
		}
	default:
		c = smtp.NewClient(conn)
	}
	c.CommandTimeout, c.SubmissionTimeout = mailTime, mailTime
	if t.User == "" {
		return c, c.Noop()
	}
	return c, t.login(c)
}

// login authenticates. The password crosses the network only within TLS.
func (t *Mail) login(c *smtp.Client) error {
	if _, on := c.TLSConnectionState(); !on && !Loopback(t.host) {
		return errors.New("the password would cross the network in the clear")
	}
	how := sasl.NewPlainClient("", t.User, t.Password)
	if !c.SupportsAuth(sasl.Plain) && c.SupportsAuth(sasl.Login) {
		how = sasl.NewLoginClient(t.User, t.Password)
	}
	if err := c.Auth(how); err != nil {
		return fmt.Errorf("authenticate as %s: %w", t.User, err)
	}
	return nil
}

// send sends one mail. begun says that the server may have taken it.
func (t *Mail) send(s *smtpSession, to string, m Message) (answer string, begun bool, err error) {
	options := &smtp.MailOptions{}
	if utf8, _ := s.Extension("SMTPUTF8"); utf8 && !ascii(to+t.from.Address) {
		options.UTF8 = true
	}
	if err := s.Mail(t.from.Address, options); err != nil {
		return "", false, err
	}
	if err := s.Rcpt(to, nil); err != nil {
		return "", false, refusal(err)
	}
	w, err := s.Data()
	if err != nil {
		return "", false, refusal(err)
	}
	if _, err := w.Write(t.compose(to, m)); err != nil {
		return "", true, err
	}
	said, err := w.CloseWithResponse()
	if err != nil {
		return "", true, refusal(err)
	}
	return "250 " + said.StatusText, true, nil
}

// refusal says that the server refuses this mail, if that is what its answer means.
func refusal(err error) error {
	said, ok := errors.AsType[*smtp.SMTPError](err)
	if ok {
		return &RefusedError{err, !said.Temporary()}
	}
	return err
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// longestSubject is in characters. A longer one is cut: a line of a header has at most 998 bytes
// (RFC 5322, section 2.1.1), and only encoded words are folded.
const longestSubject = 250

// compose writes the mail. A text of strangers can't begin a header: all of them are
// encoded (RFC 2047), and the address is quoted where necessary.
func (t *Mail) compose(to string, m Message) []byte {
	var b bytes.Buffer
	_, domain, _ := strings.Cut(t.from.Address, "@")
	subject := []rune(m.Subject)
	if len(subject) > longestSubject {
		subject = append(subject[:longestSubject-1], '…')
	}
	for _, h := range [][2]string{
		{"From", t.from.String()},
		{"To", (&mail.Address{Address: to}).String()},
		{"Subject", mime.QEncoding.Encode("utf-8", string(subject))},
		{"Date", time.Now().Format(time.RFC1123Z)},
		{"Message-ID", "<" + m.ID + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: no answers from those who are away
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		// Encoded words get lines of their own.
		b.WriteString(h[0] + ": " + strings.ReplaceAll(h[1], "?= =?", "?=\r\n =?") + "\r\n")
	}
	b.WriteString("\r\n")
	q := quotedprintable.NewWriter(&b)
	q.Write([]byte(m.Text))
	q.Close()
	return b.Bytes()
}
