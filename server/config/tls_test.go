package config_test

import (
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/storage/storagetest/must"
)

// TestCertificateText: a chain that an editor of Windows saved is read whole. A PEM
// reader that takes the mark for a part of the first line silently skips the first
// certificate.
func TestCertificateText(t *testing.T) {
	authority := ldaptest.NewAuthority(t)
	cert, key := authority.Issue(t, "gate.example")
	second, _ := authority.Issue(t, "second.example")
	chain := cert + second
	for _, c := range []struct{ what, chain, key string }{
		{"as it is", chain, key},
		{"CRLF", strings.ReplaceAll(chain, "\n", "\r\n"), strings.ReplaceAll(key, "\n", "\r\n")},
		{"a mark", "\ufeff" + chain, "\ufeff" + key},
		{"UTF-16", "\xff\xfe" + strings.Join(strings.Split(chain, ""), "\x00") + "\x00", key},
	} {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		must.Do(t, os.WriteFile(certFile, []byte(c.chain), 0o600))
		must.Do(t, os.WriteFile(keyFile, []byte(c.key), 0o600))
		pair, err := config.TLS{Cert: certFile, Key: keyFile}.Load()
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if len(pair.Certificate) != 2 || pair.Leaf == nil || pair.Leaf.VerifyHostname("gate.example") != nil {
			t.Errorf("%s: got %d certificates", c.what, len(pair.Certificate))
		}
		block, _ := pem.Decode([]byte(second))
		if last, err := x509.ParseCertificate(pair.Certificate[len(pair.Certificate)-1]); err != nil || string(last.Raw) != string(block.Bytes) {
			t.Errorf("%s: the chain does not end as the file does", c.what)
		}
	}
}
