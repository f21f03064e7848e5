package server_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// hold makes tokens of alice's that are never used, until she holds n.
func (h *house) hold(n int) {
	h.Helper()
	u := must.Get(h.store.User(alice))(h)
	held, _ := must.Get2(h.store.CountTokensOf(u.ID, 0))(h)
	for held < n {
		var list []storage.Imported
		for ; held < n && len(list) < 1000; held++ {
			list = append(list, storage.Imported{Owner: u.ID, Name: fmt.Sprintf("<held> %d.", held), Created: h.clock.Milli() - 1_000_000 + int64(held)})
		}
		must.Get(h.store.ImportTokens(storage.Actor{Name: "tester"}, list))(h)
	}
}

// TestListingIsOneArray compares the listings, which are sent in parts, with the
// encoding of the whole, to the byte and for numbers around those of a part.
func TestListingIsOneArray(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	u := must.Get(h.store.User(alice))(t)
	server := h.serve()
	for _, n := range []int{0, 1, tokens.PartTokens - 1, tokens.PartTokens, tokens.PartTokens + 1, 2 * tokens.PartTokens, 3*tokens.PartTokens + 5} {
		h.hold(n)
		list, _, err := h.store.Page(storage.Owned{Owner: u.ID, Limit: math.MaxInt})
		if err != nil || len(list) != n {
			t.Fatalf("got %d tokens, %v, want %d", len(list), err, n)
		}
		full, own := []api.DocumentedToken{}, []api.OwnToken{}
		for _, v := range list {
			full = append(full, api.DocumentedToken{Token: view.New(h.store, h.clock.Now).Token(v, alice), APIToken: h.store.Reveal(v).Reveal()})
			own = append(own, view.New(h.store, h.clock.Now).Own(v, alice))
		}
		for path, all := range map[string]any{"/api/getApiTokens": full, "/api/tokens": own} {
			want := must.Get(reply.Marshal(all))(t)
			h.ask("GET", path).cookie(cookie).send().want(http.StatusOK, string(want)).
				wantHeader("Cache-Control", "no-store").wantHeader("Content-Type", "application/json").wantHeader("X-Content-Type-Options", "nosniff")
			for method, body := range map[string]string{"GET": string(want) + "\n", "HEAD": ""} {
				r := must.Get(http.NewRequest(method, server+path, nil))(t)
				r.Header.Set("Cookie", h.cookieName()+"="+cookie)
				resp := must.Get(http.DefaultClient.Do(r))(t)
				got, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || resp.StatusCode != http.StatusOK || string(got) != body {
					t.Errorf("%s %s with %d tokens: got %d with %d bytes, %v, want 200 with %d", method, path, n, resp.StatusCode, len(got), err, len(body))
				}
				length := int64(-1) // not known when the head is sent
				if n <= tokens.PartTokens {
					length = int64(len(want) + 1)
				}
				if resp.ContentLength != length {
					t.Errorf("%s %s with %d tokens: got the length %d, want %d", method, path, n, resp.ContentLength, length)
				}
			}
		}
	}
}

// TestListingIsCutOff: if a listing can't be read to its end, no client takes the
// beginning for the whole. If it can't be read at all, the reply has an error status.
func TestListingIsCutOff(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	h.hold(3 * tokens.PartTokens)
	h.close()
	damage(t, h.dir, 't', fmt.Sprintf(" %d.", 2*tokens.PartTokens+1))
	h.open()
	server := h.serve()
	r := must.Get(http.NewRequest("GET", server+"/api/getApiTokens", nil))(t)
	r.Header.Set("X-Auth-Token", token)
	resp := must.Get(http.DefaultClient.Do(r))(t)
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || !errors.Is(err, io.ErrUnexpectedEOF) || len(got) == 0 || bytes.Contains(got, []byte("]\n")) || bytes.Contains(got, []byte("error")) {
		t.Errorf("got %d with %d bytes that end with %.40q, %v, want the beginning of a list, and an error", resp.StatusCode, len(got), got[max(0, len(got)-40):], err)
	}
	if log := h.log.String(); !strings.Contains(log, `msg="a reply ended early" route="GET /api/getApiTokens"`) {
		t.Errorf("got the log %s, want the reply that ended early", log)
	}
}
