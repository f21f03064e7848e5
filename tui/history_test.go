package tui

import (
	"strings"
	"testing"

	"gatehouse/server/api"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestHistoryGoesOn: for an old token in a long journal, the screen says how far back the
// events go. A key looks further back, until the making of the token.
func TestHistoryGoesOn(t *testing.T) {
	store, c := realWith(t, storage.Options{Segment: 64 << 10}, 2, 2)
	id := renamedThrice(t, store, c)

	d := drive(t, unfollowed{c}, Options{})
	d.run(d.push(newToken(d.model, api.Token{ID: id.String(), ExpiresOn: api.Never})))
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
	rename(t, store, id, "again")
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
	for u := range must.All(c.Users(t.Context(), api.UserQuery{Limit: 1}))(t) {
		return u.UID
	}
	t.Fatal("there is no user")
	return ""
}

// renamedThrice returns a token that was renamed three times. Between these events
// there are more segments of the log than one look reads.
func renamedThrice(t *testing.T, store *storage.Store, c *api.Client) storage.ID {
	t.Helper()
	var ids []storage.ID
	for range 2 {
		tk := must.Get(c.CreateToken(t.Context(), api.TokenRequest{UID: firstUser(t, c)}))(t)
		id := must.Get(storage.ParseID(tk.ID))(t)
		ids = append(ids, id)
	}
	noise := strings.Repeat("x", 32<<10)
	for range 3 {
		rename(t, store, ids[0], "seen")
		for range 20 {
			store.Note(storage.Actor{Name: "root"}, storage.Event{Action: storage.ActionLogin, UID: "bob@example.com", Detail: noise})
			rename(t, store, ids[1], "other") // waits until the event is written
		}
	}
	return ids[0]
}

func rename(t *testing.T, store *storage.Store, id storage.ID, name string) {
	t.Helper()
	must.Do(t, store.RenameToken(storage.Actor{Name: "root"}, id, name))
}
