package server_test

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// withTLS has a house speak https, with a certificate for that host.
func withTLS(t *testing.T, host string) func(*config.Config) {
	t.Helper()
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	cert, key := ldaptest.NewAuthority(t).Issue(t, host)
	must.Do(t, errors.Join(os.WriteFile(files.Cert, []byte(cert), 0o600), os.WriteFile(files.Key, []byte(key), 0o600)))
	return func(c *config.Config) { c.TLS = files }
}

// A client that prefers HTTP/2 gets HTTP/1.1, and a client that speaks only HTTP/2 gets
// no connection.
func TestOnlyHTTP1(t *testing.T) {
	h := newHouse(t, withTLS(t, "localhost"))
	url := h.serve()
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r := must.Get(http.NewRequest("GET", url+verifyPath, nil))(t)
	r.Header.Set("X-Auth-Token", h.token())
	resp := must.Get(transport.RoundTrip(r))(t)
	resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.StatusCode != http.StatusOK {
		t.Errorf("got %s %s, want HTTP/1.1 and 200", resp.Proto, resp.Status)
	}
	addr := strings.TrimPrefix(url, "https://")
	if c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}); err == nil {
		c.Close()
		t.Errorf("a client of HTTP/2 alone is taken in, with %q", c.ConnectionState().NegotiatedProtocol)
	}
}
