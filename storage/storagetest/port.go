package storagetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreePort returns an address that nobody listens on. Its port is below those that the
// kernel assigns by itself: one of those may belong to another test's connection by the
// time it is used.
func FreePort(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(22_000)))
		if err == nil {
			l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("there is no free port")
	return ""
}
