package listen

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/server/config"
)

// Certificate is the server's own certificate. It is loaded again when one of its two
// files has changed; if that fails, the older one stays in use.
type Certificate struct {
	now func() time.Time
	log *slog.Logger

	mu sync.Mutex
	loaded
}

// loaded is what is known of the files.
type loaded struct {
	files   config.TLS // without any, connections are plain
	pair    *tls.Certificate
	problem error // why the files, which have changed, could not be loaded
	looked  time.Time
	changed [2]time.Time
	again   bool // load them even if they have not changed
}

// NewCertificate loads a certificate from its files.
func NewCertificate(files config.TLS, now func() time.Time, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{now: now, log: log}
	return c, c.Use(files)
}

// get is a tls.Config's GetCertificate. It looks at the files at most once a second.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair != nil && c.now().Sub(c.looked) < time.Second {
		return c.pair, nil
	}
	return c.look()
}

// Use takes the certificate from other files, or from the same ones without waiting for
// the next look at them.
func (c *Certificate) Use(files config.TLS) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if files.Cert == "" {
		c.files, c.pair, c.problem = files, nil, nil
		return nil
	}
	before := c.loaded
	c.files, c.again = files, true
	_, err := c.look()
	if err = cmp.Or(err, c.problem); err != nil && before.files != files {
		c.loaded = before
	}
	return err
}

// On reports whether there is a certificate: connections then begin with TLS.
func (c *Certificate) On() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.files.Cert != ""
}

// look loads the files if they have changed.
func (c *Certificate) look() (*tls.Certificate, error) {
	c.looked = c.now()
	var changed [2]time.Time
	for i, file := range []string{c.files.Cert, c.files.Key} {
		if info, err := os.Stat(file); err == nil {
			changed[i] = info.ModTime()
		}
	}
	if c.pair != nil && changed == c.changed && !c.again {
		return c.pair, nil
	}
	c.again = false
	pair, err := c.files.Load()
	if err != nil {
		if c.pair != nil {
			c.log.Error("the changed certificate can't be loaded; the previous one stays in use", "error", err)
			c.changed, c.problem = changed, err // said once, not at every connection
			return c.pair, nil
		}
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	if c.pair != nil && !slices.EqualFunc(c.pair.Certificate, pair.Certificate, bytes.Equal) {
		c.log.Info("a new certificate is in use", "names", strings.Join(pair.Leaf.DNSNames, " "), "ends", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	c.pair, c.changed, c.problem = &pair, changed, nil
	return c.pair, nil
}

// Health returns when the certificate in use expires, and why newer files could not
// be loaded.
func (c *Certificate) Health() (notAfter time.Time, err error) {
	pair, err := c.get(nil)
	if err != nil {
		return notAfter, err
	}
	if pair.Leaf != nil { // as tls.X509KeyPair leaves it
		notAfter = pair.Leaf.NotAfter
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return notAfter, c.problem
}
