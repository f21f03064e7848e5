package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/storage/storagetest/must"
)

func TestSpans(t *testing.T) {
	date := day
	const day = 24 * time.Hour
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 3600))
	for _, c := range []struct {
		d          time.Duration
		ago, until string
	}{
		{-time.Hour, "just now", "1 hour ago"},
		{0, "just now", "just now"},
		{59 * time.Second, "just now", "in less than a minute"},
		{time.Minute, "1 minute ago", "in 1 minute"},
		{59 * time.Minute, "59 minutes ago", "in 59 minutes"},
		{time.Hour, "1 hour ago", "in 1 hour"},
		{47 * time.Hour, "47 hours ago", "in 47 hours"},
		{2 * day, "2 days ago", "in 2 days"},
		{7*day - time.Second, "6 days ago", "in 7 days"},
		{90*day - time.Second, "89 days ago", "in 90 days"},
		{99 * day, "99 days ago", "in 99 days"},
		{100 * day, "3 months ago", "in 3 months"},
		{364 * day, "11 months ago", "in 12 months"},
		{729 * day, "23 months ago", "in 2 years"},
		{730 * day, "2 years ago", "in 2 years"},
		{1<<63 - 1, "292 years ago", "in 292 years"},
	} {
		if got := ago(now, now.Add(-c.d)); got.Words != c.ago {
			t.Errorf("%v ago: got %q, want %q", c.d, got.Words, c.ago)
		}
		if got := until(now, now.Add(c.d)); got.Words != c.until {
			t.Errorf("in %v: got %q, want %q", c.d, got.Words, c.until)
		}
	}
	if got, want := date(now), (Moment{"2026-03-01", "2026-03-01 11:00 UTC", "2026-03-01 11:00:00 UTC", "2026-03-01T11:00:00Z"}); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPages: all pages can be written, empty and full, and nothing handed to
// them is markup.
func TestPages(t *testing.T) {
	p := must.Get(New(true))(t)
	now := time.Unix(1_800_000_000, 0)
	token := Token{ID: "0123456789abcdef0123456789ab", Name: "<i>", Created: now}
	many := Several{"<i>", "<i>", "<i>", "<i>", "<i>"}
	at := Place{Listing: "/<i>", Number: 2, Sort: "<i>"}
	asked := Asked{UID: "<i>", Now: now, Place: at}
	for _, page := range []Page{
		Login{}, Login{Providers: []Provider{{"github", "<i>Git"}}, Directory: true, Note: "n", Error: "<i>", Next: "/<i>"},
		Tokens{}, Tokens{
			UID: "<i>", Now: now, Place: at, Last: 3, Total: 2, Stale: 1, Sortable: true, Form: &Form{}, Done: &Done{"renamed", token.ID, "<i>"},
			List: []Token{token, {ID: token.ID, Name: "<i>", By: "<i>", Address: "<i>", State: "expired", LastUsed: now, Expires: now, Stale: true, Scopes: many, Addresses: many}},
		},
		Tokens{Made: &Made{Token{ID: token.ID, Name: "<i>", Expires: now}, "s", "<i>"}, Form: &Form{
			Name: "<i>", Lifetimes: []Lifetime{{"<i>", "<i>", true}}, Date: "<i>", FirstDate: "<i>", LastDate: "<i>", Known: []Box{{"<i>", "<i>", "<i>", true}},
			Scopes: "<i>", Addresses: "</textarea><i>", From: "<i>", Error: "<i>",
			Wrong: map[string]string{"name": "<i>", "expiresIn": "<i>", "date": "<i>", "scopes": "<i>", "addresses": "<i>"},
		}},
		Rename{}, Rename{Asked: asked, Token: Token{ID: "x/y"}, Name: "<i>", Error: "<i>"},
		Tokens{Service: &Service{UID: "<i>", Path: "/services/x", Description: "<i>", Successor: "<i>", State: "disabled"}, Place: at, Last: 3, List: []Token{{ID: token.ID, By: "<i>"}}},
		Services{}, Services{UID: "<i>", Now: now, List: []Service{{UID: "<i>", Description: "<i>", Successor: "<i>", State: "active", LastUsed: now}}},
		Rotate{Token: token}, Rotate{Asked: asked, Token: token, Error: "<i>"}, Rotate{Asked: asked, Token: token, Secret: "<i>", Ended: now},
		Revoke{}, Revoke{Asked: asked, Token: token, Error: "<i>"},
		Failure{}, Failure{Status: "<i>", Error: "<i>"},
		Onward{},
	} {
		w := httptest.NewRecorder()
		if err := p.Write(w, http.StatusTeapot, page); err != nil {
			t.Errorf("%T: %v", page, err)
		}
		body := strings.NewReplacer(`<i class="name">no name</i>`, "", "<i>no name</i>", "").Replace(w.Body.String())
		if w.Code != http.StatusTeapot || strings.Contains(body, "<i>") || !strings.HasSuffix(body, "</html>\n") {
			t.Errorf("%T: got %d %s", page, w.Code, body)
		}
		if got := w.Header().Get("Cross-Origin-Opener-Policy"); got != "same-origin" {
			t.Errorf("got the opener policy %q over https", got)
		}
	}
}
