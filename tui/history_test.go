package tui

import (
	"strings"
	"testing"

	"gatehouse/server/api"
	"gatehouse/storage"
)

// TestHistoryGoesOn: the events of a token that is old in a long journal come
// with a word on how far back they go, and a key goes on from there, to the
// making of the token.
func TestHistoryGoesOn(t *testing.T) {
	store, c := realWith(t, storage.Options{Segment: 64 << 10}, 2, 2)
	by := storage.Actor{Name: "root"}
	var all []api.NewToken
	for range 2 {
		tk, err := c.CreateToken(t.Context(), api.TokenRequest{UID: firstUser(t, c)})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, tk)
	}
	rename := func(tk api.NewToken, name string) {
		t.Helper()
		id, err := storage.ParseID(tk.ID)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.RenameToken(by, id, name); err != nil {
			t.Fatal(err)
		}
	}
	noise := strings.Repeat("x", 32<<10)
	for range 3 {
		rename(all[0], "seen")
		for range 20 { // more segments than one look reads
			store.Note(by, storage.Event{Action: storage.ActionLogin, UID: "bob@example.com", Detail: noise})
			rename(all[1], "other") // waits until that is written
		}
	}

	d := drive(t, unfollowed{c}, Options{})
	d.run(d.push(newToken(d.model, api.Token{ID: all[0].ID, ExpiresOn: api.Never})))
	d.press("G")
	d.want("EVENTS", "! Looked back to ", ": o goes on")
	d.wantNot("token.create")
	shown := func() int {
		return strings.Count(strings.Join(d.screen().(*token).lines(100), "\n"), "token.rename")
	}
	before := shown()
	for range 20 {
		if !strings.Contains(strings.Join(d.screen().(*token).lines(100), "\n"), "o goes on") {
			break
		}
		d.press("oG")
		d.press("r") // which brings what came since, and no gap
	}
	d.want("token.create")
	d.wantNot("o goes on")
	if after := shown(); before >= 3 || after != 3 {
		t.Errorf("got %d renames and then %d, want fewer than 3 and then all 3", before, after)
	}
	rename(all[0], "again")
	d.press("r")
	if got := shown(); got != 4 {
		t.Errorf("got %d renames, want the new one too", got)
	}
	d.press("o") // nothing is left to look for
	if got := shown(); got != 4 {
		t.Errorf("got %d renames after another look", got)
	}
}

func firstUser(t *testing.T, c *api.Client) string {
	for u, err := range c.Users(t.Context(), api.UserQuery{Limit: 1}) {
		if err != nil {
			t.Fatal(err)
		}
		return u.UID
	}
	t.Fatal("there is no user")
	return ""
}
