package ldaptest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// log is what slapd writes while a test reads it.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// settle waits until the log has what the server wrote before now: it comes
// through a pipe, in order, but later than the answers. A stopped server writes
// no more.
func (s *Slapd) settle() {
	c, err := goldap.DialURL("ldap://"+s.Addr, goldap.DialWithDialer(&net.Dialer{Timeout: time.Second}))
	if err != nil {
		return
	}
	defer c.Close()
	c.SetTimeout(5 * time.Second)
	mark := fmt.Sprintf("(uid=mark-%d)", rand.Uint64())
	if _, err := c.Search(goldap.NewSearchRequest(People, goldap.ScopeBaseObject, 0, 0, 0, false, mark, nil, nil)); err != nil && goldap.IsErrorWithCode(err, goldap.ErrorNetwork) {
		return
	}
	for range 1000 {
		if strings.Contains(s.Log(), mark) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Log is what the server has written: a line for each operation.
func (s *Slapd) Log() string { return s.log.String() }

// Binds counts the binds of dn so far, the refused ones too.
func (s *Slapd) Binds(dn string) int {
	s.settle()
	return strings.Count(s.Log(), `BIND dn="`+dn+`" method=128`)
}
