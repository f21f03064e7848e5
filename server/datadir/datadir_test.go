package datadir

import (
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestCounted checks that a command that opens the store itself after a kill lists every
// use: the address of each token's last use, and the number of uses.
func TestCounted(t *testing.T) {
	if testing.Short() {
		t.Skip("20,000 tokens take long: not with -short")
	}
	const tokens = 20000
	dir := filepath.Join(t.TempDir(), "data")
	store := must.Get(storage.Open(dir, storage.Options{}))(t)
	defer store.Close()
	u := must.Get(store.AddUser(storage.Actor{}, "ada@example.com", "", ""))(t)
	from := storage.Origin{Address: netip.MustParseAddr("192.0.2.1"), Agent: "script"}
	var made []storage.Token
	for len(made) < tokens {
		some := must.Get(store.ImportTokens(storage.Actor{}, slices.Repeat([]storage.Imported{{Owner: u.ID, Created: 1}}, 1000)))(t)
		made = append(made, some...)
	}
	for _, tok := range made {
		must.Get(store.Authenticate(string(store.Reveal(tok)), from))(t)
	}
	must.Happen(t, "uses in their log", func() bool { return size(t, filepath.Join(dir, "store", "uses")) >= 25*tokens })
	// The store drops a segment of the log of uses once the index has its uses. A copy
	// made during that could lack them in both, as no kill leaves it.
	segments := func() []string {
		list := must.Get(filepath.Glob(filepath.Join(dir, "store", "uses", "*")))(t)
		return list
	}
	var killed string
	for before := []string(nil); !slices.Equal(before, segments()); {
		before, killed = segments(), filepath.Join(t.TempDir(), "data")
		must.Do(t, os.CopyFS(killed, os.DirFS(dir)))
	}
	must.Do(t, os.Chmod(filepath.Join(killed, "key"), 0o600))
	c := must.Get(Dir{Path: killed, Messages: io.Discard}.Client(t.Context()))(t)
	defer c.Close()
	n := 0
	for tok := range must.All(c.Tokens(t.Context(), api.TokenQuery{}))(t) {
		if n++; tok.LastAddress != "192.0.2.1" {
			t.Fatalf("token %d of the listing: last address %q", n, tok.LastAddress)
		}
	}
	if n != tokens {
		t.Errorf("the listing has %d tokens, want %d", n, tokens)
	}
}

// size is the length of the files in a directory.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	entries := must.Get(os.ReadDir(dir))(t)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
