package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/mail"
	"slices"
	"time"

	"gatehouse/server/notify/target"
	"gatehouse/server/notify/wording"
	"gatehouse/server/textfile"
)

// Notify says where notices are sent, and when there is one before a token ends.
type Notify struct {
	Command           string     `toml:"command"` // the program and its arguments
	Webhook           string     `toml:"webhook"`
	WebhookSecretFile string     `toml:"webhook_secret_file"`
	SMTP              string     `toml:"smtp"` // smtp://host:25 or smtps://host
	SMTPUser          string     `toml:"smtp_user"`
	SMTPPasswordFile  string     `toml:"smtp_password_file"`
	SMTPCAFile        string     `toml:"smtp_ca_file"`
	From              string     `toml:"from"`
	Templates         string     `toml:"templates"` // a directory with the texts of the mails
	BeforeExpiry      []Lifetime `toml:"before_expiry"`
}

// On reports whether notices are sent anywhere.
func (c Notify) On() bool { return c.Command != "" || c.Webhook != "" || c.SMTP != "" }

// mostSteps is the largest number of notices before one token ends.
const mostSteps = 10

// Steps returns how long before the end of a token there is a notice, the longest first.
func (c Notify) Steps() (list []time.Duration) {
	for _, one := range c.BeforeExpiry {
		list = append(list, one.Duration)
	}
	slices.Sort(list)
	slices.Reverse(list)
	return slices.Compact(list)
}

func (c Notify) check(f *faults) {
	if c.Webhook != "" {
		if err := target.CheckWebhook(c.Webhook); err != nil {
			f.add("notify.webhook", "%w", err)
		}
	}
	if c.SMTP != "" {
		c.checkMail(f)
	}
	needs := func(setting, value, other string, set bool) {
		if value != "" && !set {
			f.add("notify."+setting, "has no effect without notify.%s", other)
		}
	}
	needs("webhook_secret_file", c.WebhookSecretFile, "webhook", c.Webhook != "")
	needs("smtp_user", c.SMTPUser, "smtp", c.SMTP != "")
	needs("smtp_user", c.SMTPUser, "smtp_password_file", c.SMTPPasswordFile != "")
	needs("smtp_password_file", c.SMTPPasswordFile, "smtp_user", c.SMTPUser != "")
	needs("smtp_ca_file", c.SMTPCAFile, "smtp", c.SMTP != "")
	needs("templates", c.Templates, "smtp", c.SMTP != "")
	if len(c.BeforeExpiry) > mostSteps {
		f.add("notify.before_expiry", "at most %d spans of time", mostSteps)
	}
	for _, one := range c.BeforeExpiry {
		if !one.Ends() {
			f.add("notify.before_expiry", `"never" is no span of time: write [] to tell nobody before tokens end`)
		}
	}
}

// checkMail reports whether mail can be sent from that address by that server.
func (c Notify) checkMail(f *faults) bool {
	ok := true
	if err := (target.MailConfig{URL: c.SMTP}).Validate(); err != nil {
		f.add("notify.smtp", "%w", err)
		ok = false
	}
	if _, err := mail.ParseAddress(c.From); err != nil {
		f.add("notify.from", "%q is not a mail address such as gatehouse@example.com: mail needs a sender", c.From)
		ok = false
	}
	return ok
}

// Targets returns the targets that are configured. It reads the files, and connects to
// nothing.
func (c Notify) Targets() (list []target.Target, err error) {
	var f faults
	if c.Command != "" {
		t, err := target.NewCommand(c.Command)
		if err != nil {
			f.add("notify.command", "%w", err)
		} else {
			list = append(list, t)
		}
	}
	if c.Webhook != "" {
		secret := f.secret("notify.webhook_secret_file", c.WebhookSecretFile)
		list = append(list, target.NewWebhook(c.Webhook, secret))
	}
	if c.SMTP != "" && c.checkMail(&f) {
		t, err := target.NewMail(target.MailConfig{
			URL: c.SMTP, From: c.From, User: c.SMTPUser,
			Password: f.secret("notify.smtp_password_file", c.SMTPPasswordFile), TLS: f.authorities("notify.smtp_ca_file", c.SMTPCAFile),
		})
		if err != nil {
			f.add("notify.smtp", "%w", err)
		} else {
			list = append(list, t)
		}
	}
	return list, errors.Join(f...)
}

// Words returns the texts of the mails. url is where users find their tokens.
func (c Notify) Words(url string) (*wording.Words, error) {
	w, err := wording.Load(c.Templates, url)
	if err != nil {
		return nil, &fault{"notify.templates", err}
	}
	return w, nil
}

// secret reads a secret from a file; the empty name has none.
func (f *faults) secret(setting, file string) string {
	if file == "" {
		return ""
	}
	secret, err := textfile.ReadSecret(file)
	if err != nil {
		f.add(setting, "%w", err)
	}
	return secret
}

// authorities reads certificates of authorities; the empty name stands for the system's.
func (f *faults) authorities(setting, file string) *tls.Config {
	if file == "" {
		return nil
	}
	pem, err := textfile.Read(file)
	if err != nil {
		f.add(setting, "%w", err)
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		f.add(setting, "%s contains no certificate", file)
	}
	return &tls.Config{RootCAs: pool}
}
