package listen_test

import (
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/server/listen"
)

func TestSocketPathTooLong(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	if _, err := listen.Socket(dir); err == nil || !strings.Contains(err.Error(), "shorter") {
		t.Errorf("got %v, want advice", err)
	}
}
