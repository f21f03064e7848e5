package server_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// TestSortedTokens: the heads of the columns sort, each way, on all pages.
func TestSortedTokens(t *testing.T) {
	h := newHouse(t)
	cookie := h.login(alice, password)
	create := func(name, expires string) string {
		t.Helper()
		h.clock.Move(time.Minute)
		return h.ask("POST", "/api/token").cookie(cookie).json(toJSON(map[string]string{"name": name, "expiresIn": expires})).send().newToken().Secret
	}
	h.alive(create("b", "30d")) // before the others are made
	create("C", "never")
	create("", "10d")
	h.alive(create("a", "20d"))
	for _, c := range []struct{ sort, want, head, link string }{
		{"", "a no-name C b", `aria-sort="descending"><a href="/?sort=created">Created`, `<a href="/?sort=name">Name`},
		{"-created", "a no-name C b", `aria-sort="descending"><a href="/?sort=created">Created`, `<a href="/?sort=used">Last used`},
		{"created", "b C no-name a", `aria-sort="ascending"><a href="/">Created`, `<a href="/?sort=ends">Expires`},
		{"name", "a b C no-name", `aria-sort="ascending"><a href="/?sort=-name">Name`, `<a href="/">Created`},
		{"-name", "no-name C b a", `aria-sort="descending"><a href="/?sort=name">Name`, `<a href="/">Created`},
		{"used", "C no-name b a", `aria-sort="ascending"><a href="/?sort=-used">Last used`, `<a href="/">Created`},
		{"-used", "a b no-name C", `aria-sort="descending"><a href="/?sort=used">Last used`, `<a href="/">Created`},
		{"ends", "no-name a b C", `aria-sort="ascending"><a href="/?sort=-ends">Expires`, `<a href="/">Created`},
		{"-ends", "C b a no-name", `aria-sort="descending"><a href="/?sort=ends">Expires`, `<a href="/">Created`},
		{"owner", "a no-name C b", `aria-sort="descending"><a href="/?sort=created">Created`, `<a href="/?sort=name">Name`},
		{`"><i>`, "a no-name C b", `aria-sort="descending"><a href="/?sort=created">Created`, `<a href="/?sort=name">Name`},
	} {
		got := h.ask("GET", "/").cookie(cookie)
		q := got.r.URL.Query()
		q.Set("sort", c.sort)
		got.r.URL.RawQuery = q.Encode()
		page := got.send().page(http.StatusOK).shows(c.head, c.link).lacks("<i>")
		if n := strings.Count(page.text, "aria-sort"); n != 1 {
			t.Errorf("%q: %d columns are sorted", c.sort, n)
		}
		if names := strings.Join(rowNames(page.text), " "); names != c.want {
			t.Errorf("%q: got %s, want %s", c.sort, names, c.want)
		}
	}

	// The pages of an order fit together.
	for i := range 100 {
		create(fmt.Sprintf("n%03d", (i*37)%100), "never")
	}
	var all []string
	for _, page := range []string{"", "&page=2", "&page=3"} {
		all = append(all, rowNames(h.ask("GET", "/?sort=name"+page).cookie(cookie).send().page(http.StatusOK).text)...)
	}
	if len(all) != 104 || all[0] != "a" || all[3] != "n000" || all[102] != "n099" || all[103] != "no-name" {
		t.Errorf("got %d: %v", len(all), all)
	}
}

// rowNames returns the names in the rows of the table, from the top.
func rowNames(page string) (names []string) {
	for _, m := range regexp.MustCompile(`role="rowheader" scope="row"><span id="t[0-9a-f]{28}"><(?:bdi|i) class="name">([^<]*)<`).FindAllStringSubmatch(page, -1) {
		names = append(names, strings.ReplaceAll(m[1], " ", "-"))
	}
	return names
}

// TestStaleTokens: what nothing has used for 90 days says so in words, and is counted.
func TestStaleTokens(t *testing.T) {
	h := newHouse(t)
	old := h.create(`{"name":"old"}`)
	h.create(`{"name":"ended","expiresIn":"1d"}`)
	h.clock.Move(90*day - time.Minute)
	h.home(h.login(alice, password)).page(http.StatusOK).lacks("unused for 90 days")
	h.alive(h.create(`{"name":"new"}`).Secret)
	h.clock.Move(time.Minute)
	cookie := h.login(alice, password)
	got := h.home(cookie).page(http.StatusOK).shows(`<a href="/?sort=used">2 unused for 90 days</a>`, `<span class="state live">live</span> <span class="stale">unused for 90 days</span>`,
		`<span class="state expired">expired</span> <span class="stale">unused for 90 days</span>`)
	if n := strings.Count(got.text, `class="stale"`); n != 2 {
		t.Errorf("%d tokens are stale, want 2", n)
	}
	h.alive(old.Secret)
	h.home(cookie).page(http.StatusOK).shows(`<a href="/?sort=used">1 unused for 90 days</a>`)
	if page := h.home(cookie).text; !strings.Contains(page, "/tokens/"+old.ID+"/rotate") || strings.Count(page, `/rotate"`) != 2 {
		t.Error("a token that works can be rotated, and an expired one can't")
	}
}

// TestVeryManyTokens: with more tokens than are sorted at once, the page still comes, by
// creation.
func TestVeryManyTokens(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes ten thousand tokens")
	}
	h := newHouse(t)
	cookie := h.login(alice, password)
	u := must.Get(h.store.User(alice))(t)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 200 {
				if _, _, err := h.store.CreateToken(storage.Actor{}, u.ID, storage.TokenSpec{Name: strings.Repeat("\u00e4", 100)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	start := time.Now()
	h.ask("GET", "/?sort=name&page=200").cookie(cookie).send().page(http.StatusOK).shows("Page 200 of 200", `aria-sort="ascending"><a href="/?sort=-name">Name`)
	t.Logf("a page of 10,000 tokens by name took %v", time.Since(start))
	h.create(`{"name":"one more"}`)
	got := h.ask("GET", "/?sort=name&page=201").cookie(cookie).send().page(http.StatusOK)
	got.shows("Page 201 of 201", "More than 10,000 tokens are sorted only by their creation.", `aria-sort="descending"><a href="/?sort=created">Created`).lacks("?sort=name")
	h.ask("GET", "/?sort=created&page=201").cookie(cookie).send().page(http.StatusOK).shows("one more")
}
