package target

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"gatehouse/server/notify/smtptest"
	"gatehouse/storage/storagetest/must"
)

var message = Message{ID: "0123", JSON: []byte(`{"id":"0123"}`), To: "ada@example.com", Subject: "Grüße " + strings.Repeat("😀", 200), Text: "Gruß\n.\nEnde =\n"}

func program(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	must.Do(t, os.WriteFile(file, []byte("#!/bin/sh\n"+text), 0o700))
	return file
}

// TestCommand: the command gets the JSON and nothing else, no shell reads its line, and
// its exit status decides.
func TestCommand(t *testing.T) {
	t.Setenv("SECRET", "s3cret")
	dir := t.TempDir()
	for line, want := range map[string][2]string{
		program(t, "cat") + " a;b $HOME":                        {`{"id":"0123"}`, ""},
		program(t, `echo "$#:$1:$2"`) + " a;b  $HOME":           {"2:a;b:$HOME", ""},
		program(t, "env"):                                       {"PATH=" + commandPath, ""},
		program(t, "echo broken >&2; exit 3"):                   {"", "exit status 3: broken"},
		program(t, "yes | head -c 100000; exit 1"):              {"", "exit status 1: y\ny"},
		program(t, "sleep 60 & exec sleep 60"):                  {"", "it did not end within"},
		program(t, "(sleep 3; touch "+dir+"/late) & echo went"): {"went", ""},
		"true": {"exit status 0", ""},
	} {
		c := must.Get(NewCommand(line))(t)
		if c.time = time.Minute; strings.Contains(want[1], "within") {
			c.time = 300 * time.Millisecond
		}
		start := time.Now()
		answer, err := c.Deliver(context.Background(), message)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(answer, want[0]) || !strings.Contains(said, want[1]) || (want[1] == "") != (err == nil) || len(answer)+len(said) > mostOutput+100 {
			t.Errorf("%s: got %q, %v, want %q", line, answer, err, want)
		}
		if strings.Contains(answer, "s3cret") {
			t.Errorf("the command sees the environment: %s", answer)
		}
		if time.Since(start) > 50*time.Second {
			t.Errorf("%s took %v", line, time.Since(start))
		}
	}
}

// TestWebhook: the body is signed and the answer decides. A redirect is not followed.
func TestWebhook(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	var status int
	var signature, body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		signature, body = r.Header.Get("X-Gatehouse-Signature"), string(b)
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Idempotency-Key") != "0123" {
			t.Errorf("got %s %v", r.Method, r.Header)
		}
		w.Header().Set("Location", other.URL)
		w.WriteHeader(status)
		io.WriteString(w, "said")
	}))
	h := NewWebhook(server.URL+"/secret-path", "s3cret")
	for _, status = range []int{200, 202, 301, 307, 400, 404, 500, 503} {
		answer, err := h.Deliver(context.Background(), message)
		if (err == nil) != (status < 300) || err == nil && !strings.HasSuffix(answer, ": said") {
			t.Errorf("%d: got %q, %v", status, answer, err)
		}
		// echo -n '{"id":"0123"}' | openssl dgst -sha256 -hmac s3cret
		if body != `{"id":"0123"}` || signature != Sign([]byte("s3cret"), message.JSON) || len(signature) != 7+64 {
			t.Errorf("got %s, signed %s", body, signature)
		}
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
	server.Close()
	if _, err := h.Deliver(context.Background(), message); err == nil || strings.Contains(err.Error(), "secret-path") {
		t.Errorf("got %v, want an error without the URL", err)
	}
	status = 200
	if _, err := NewWebhook("http://127.0.0.1:1", "").Deliver(context.Background(), message); err == nil {
		t.Error("nobody is there, and no error")
	}
}

// mailTo returns the target of a server, which is reached under any name.
func mailTo(t *testing.T, s *smtptest.Server, c MailConfig) *Mail {
	t.Helper()
	if s.CA != nil && c.TLS == nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(s.CA)
		c.TLS = &tls.Config{RootCAs: pool}
	}
	c.From = "Gatehouse <gatehouse@example.com>"
	m := must.Get(NewMail(c))(t)
	m.dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.Address)
	}
	t.Cleanup(m.Close)
	return m
}

// TestMail: mail goes out within TLS and after authentication, and is readable there. A
// server without TLS, with another certificate or another password gets nothing.
func TestMail(t *testing.T) {
	const host = "mail.example.com"
	plain := smtptest.New(t, smtptest.Options{})
	start := smtptest.New(t, smtptest.Options{Host: host, User: "gatehouse", Password: "p w"})
	implicit := smtptest.New(t, smtptest.Options{Host: host, Implicit: true, User: "gatehouse", Password: "p w"})
	for name, c := range map[string]struct {
		server *smtptest.Server
		MailConfig
		fails string
	}{
		"loopback":       {plain, MailConfig{URL: "smtp://127.0.0.1"}, ""},
		"STARTTLS":       {start, MailConfig{URL: "smtp://mail.example.com:587", User: "gatehouse", Password: "p w"}, ""},
		"smtps":          {implicit, MailConfig{URL: "smtps://mail.example.com", User: "gatehouse", Password: "p w"}, ""},
		"no TLS":         {plain, MailConfig{URL: "smtp://mail.example.com"}, "STARTTLS"},
		"other name":     {start, MailConfig{URL: "smtp://other.example.com", User: "gatehouse", Password: "p w"}, "certificate is valid for mail.example.com"},
		"unknown CA":     {start, MailConfig{URL: "smtp://mail.example.com", User: "gatehouse", Password: "p w", TLS: &tls.Config{}}, "certificate"},
		"wrong password": {start, MailConfig{URL: "smtp://mail.example.com", User: "gatehouse", Password: "x"}, "authenticate as gatehouse"},
		"no password":    {start, MailConfig{URL: "smtp://mail.example.com"}, "authenticate"},
	} {
		t.Run(name, func(t *testing.T) {
			m := mailTo(t, c.server, c.MailConfig)
			before := len(c.server.Mails())
			answer, err := m.Deliver(context.Background(), message)
			got := c.server.Mails()[before:]
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) || len(got) > 0 || Refused(err) != nil {
					t.Errorf("got %q, %v, want an error with %q", answer, err, c.fails)
				}
				return
			}
			if err != nil || !strings.HasPrefix(answer, "250 ") || len(got) != 1 {
				t.Fatalf("got %q, %v and %d mails", answer, err, len(got))
			}
			if got[0].To != "ada@example.com" || got[0].From != "gatehouse@example.com" || got[0].User != c.User || got[0].TLS != (name != "loopback") {
				t.Errorf("got %+v", got[0])
			}
			wantMail(t, got[0].Data)
			if _, err := m.Deliver(context.Background(), message); err != nil || len(c.server.Mails()) != before+2 {
				t.Errorf("the second on this connection: %v", err)
			}
		})
	}
}

// TestLongSubject: a subject of any length is cut, so that no line of the mail is too long.
func TestLongSubject(t *testing.T) {
	server := smtptest.New(t, smtptest.Options{})
	m := mailTo(t, server, MailConfig{URL: "smtp://127.0.0.1"})
	for _, letter := range []string{"x", "é", "💥"} {
		long := message
		long.Subject = strings.Repeat(letter, 5000)
		must.Get(m.Deliver(context.Background(), long))(t)
		data := server.Mails()[len(server.Mails())-1].Data
		for line := range strings.Lines(data) {
			if len(line) > 1000 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		got := must.Get(mail.ReadMessage(strings.NewReader(data)))(t).Header.Get("Subject")
		if subject, err := new(mime.WordDecoder).DecodeHeader(got); err != nil || subject != strings.Repeat(letter, 249)+"…" {
			t.Errorf("got %q, %v", subject, err)
		}
	}
}

func wantMail(t *testing.T, data string) {
	t.Helper()
	m := must.Get(mail.ReadMessage(strings.NewReader(data)))(t)
	subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	text, _ := io.ReadAll(quotedprintable.NewReader(m.Body))
	if subject != message.Subject || strings.ReplaceAll(string(text), "\r\n", "\n") != message.Text {
		t.Errorf("got %q, %q", subject, text)
	}
	if m.Header.Get("Message-ID") != "<0123@example.com>" || m.Header.Get("To") != "<ada@example.com>" || m.Header.Get("Auto-Submitted") == "" {
		t.Errorf("got %v", m.Header)
	}
}

// TestMailRefused: the server's answer about one mail says whether another attempt makes
// sense. A connection that the server has closed is replaced.
func TestMailRefused(t *testing.T) {
	s := smtptest.New(t, smtptest.Options{})
	m := mailTo(t, s, MailConfig{URL: "smtp://127.0.0.1"})
	for code, final := range map[int]bool{450: false, 550: true} {
		s.Refuse(func(string) error { return &smtp.SMTPError{Code: code, Message: "no"} })
		_, err := m.Deliver(context.Background(), message)
		if r := Refused(err); r == nil || r.Final != final {
			t.Errorf("%d: got %v", code, err)
		}
	}
	s.Refuse(nil)
	for _, to := range []string{"", "nobody", "a@b\r\nRCPT TO:<c@d>", "a@b>\r\nDATA", "Ada <ada@example.com>"} {
		one := message
		one.To = to
		if _, err := m.Deliver(context.Background(), one); Refused(err) == nil || !Refused(err).Final {
			t.Errorf("%q: got %v", to, err)
		}
	}
	one := message
	one.Subject = "A\r\nBcc: eve@example.com\r\n\r\nB"
	must.Get(m.Deliver(context.Background(), one))(t)
	got, err := mail.ReadMessage(strings.NewReader(s.Mails()[0].Data))
	if err != nil || got.Header.Get("Bcc") != "" || len(s.Mails()) != 1 {
		t.Errorf("got %v, %v", got.Header, err)
	}

	s.Close() // the idle connection ends
	s = smtptest.New(t, smtptest.Options{Address: s.Address})
	if _, err := m.Deliver(context.Background(), message); err != nil || len(s.Mails()) != 1 {
		t.Errorf("after a restart of the mail server: %v", err)
	}
	s.Close()
	if _, err := m.Deliver(context.Background(), message); err == nil || Refused(err) != nil {
		t.Errorf("got %v, want an error that is no refusal", err)
	}
}

// TestMailDeadline: a server that says nothing holds nobody up.
func TestMailDeadline(t *testing.T) {
	l := must.Get(net.Listen("tcp", "127.0.0.1:0"))(t)
	defer l.Close()
	m := must.Get(NewMail(MailConfig{URL: "smtp://" + l.Addr().String(), From: "a@example.com"}))(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	done := make(chan error)
	go func() {
		_, err := m.Deliver(ctx, message)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("got %v", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for longer than the context lasts")
	}
}
