package ldaptest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// settle waits until the log contains everything that the server has written so far. The
// log comes through a pipe, in order, but later than the answers. A server that is
// stopped or halted writes no more.
func (s *Slapd) settle() {
	s.t.Helper()
	if s.cmd == nil || s.still {
		return
	}
	mark := fmt.Sprintf("(uid=mark-%d)", rand.Uint64())
	s.Do(func(c *goldap.Conn) error {
		_, err := c.Search(goldap.NewSearchRequest(People, goldap.ScopeBaseObject, 0, 0, 0, false, mark, nil, nil))
		return err
	})
	for end := time.Now().Add(patience); !strings.Contains(s.Log(), mark); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("slapd has not logged a search within %v:\n%s", patience, s.Log())
		}
	}
}

// Log returns what the server has written: one line for each operation.
func (s *Slapd) Log() string { return s.log.String() }

// Searches counts the searches of the whole tree beneath dn so far.
func (s *Slapd) Searches(dn string) int {
	s.t.Helper()
	s.settle()
	return strings.Count(s.Log(), `SRCH base="`+dn+`" scope=2`)
}

// Binds counts the binds of dn so far, the refused ones too.
func (s *Slapd) Binds(dn string) int {
	s.t.Helper()
	s.settle()
	return strings.Count(s.Log(), `BIND dn="`+dn+`" method=128`)
}
