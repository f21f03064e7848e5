package server_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// TestManualPages: everybody can read each chapter, and its links and pictures exist.
func TestManualPages(t *testing.T) {
	h := newHouse(t)
	h.ask("GET", "/manual").send().want(http.StatusSeeOther).wantHeader("Location", "/manual/")
	for _, path := range []string{"/manual/nonsense", "/manual/manual.go", "/manual/start.md", "/manual/nonsense.png"} {
		h.ask("GET", path).send().page(http.StatusNotFound)
	}
	h.ask("GET", "/manual/start/").send().want(http.StatusNotFound)
	pages := map[string]string{"/manual/": h.ask("GET", "/manual/").send().page(http.StatusOK).text}
	for _, topic := range manual.Topics() {
		pages["/manual/"+topic] = h.ask("GET", "/manual/"+topic).send().page(http.StatusOK).shows("<h1 id=").text
	}
	for from, text := range pages {
		base := &url.URL{Path: from}
		for _, m := range regexp.MustCompile(` (?:href|src)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			to := must.Get(base.Parse(m[1]))(t)
			if to.Host != "" {
				continue
			}
			target, known := pages[to.Path]
			if !known {
				h.ask("GET", to.Path).send().want(http.StatusOK)
			} else if to.Fragment != "" && !strings.Contains(target, ` id="`+to.Fragment+`"`) {
				t.Errorf("%s links to %s, where there is no such heading", from, m[1])
			}
		}
	}
}

// TestManualSearch: a search finds its words, and any query is shown as text.
func TestManualSearch(t *testing.T) {
	h := newHouse(t)
	for query, want := range map[string]string{
		"OpenLDAP pwdAccountLockedTime": `<a href="ldap#what-is-read">`,
		"AUTH_REQUEST":                  `<mark>auth_request</mark>`,
		"zebra crossing":                "<h1>0 sections with",
		"<script>alert(1)</script>":     "&lt;script&gt;alert(1)&lt;/script&gt;",
		"a\u202eb":                      `a\u202eb`,
		strings.Repeat("w ", 2000):      "<h1>",
	} {
		got := h.ask("GET", "/manual/?q="+url.QueryEscape(query)).send().page(http.StatusOK)
		if !strings.Contains(got.text, want) {
			t.Errorf("%.40q: the page lacks %q:\n%s", query, want, got.text)
		}
	}
}

// TestBrowserManual reads the manual in a real browser: from the keyboard, in light and
// dark, on a telephone and on paper.
func TestBrowserManual(t *testing.T) {
	h := newHouse(t)
	site := h.serve()
	c := newChromium(t)
	c.run(emulation.SetScriptExecutionDisabled(false), chromedp.Navigate(site+"/manual/"))
	c.looksWell("the manual")
	for _, topic := range manual.Topics() {
		c.run(chromedp.Navigate(site + "/manual/" + topic))
		c.looksWell(topic)
	}

	var stops []string
	for range 3 {
		c.run(chromedp.KeyEvent(kb.Tab))
		stops = append(stops, c.eval(`(e => e.id || e.innerText)(document.activeElement)`))
	}
	if got, want := strings.Join(stops, ", "), "Gatehouse, q, Search"; got != want {
		t.Errorf("got the order %s, want %s", got, want)
	}
	c.run(chromedp.Focus("#q"))
	c.awaitPage(chromedp.KeyEvent("retry-after" + kb.Enter))
	c.wantText("sections with retry-after")
	c.looksWell("a search")
	c.run(chromedp.Focus(".result a"))
	c.awaitPage(chromedp.KeyEvent(kb.Enter))
	if got := c.eval(`document.querySelector(":target, h1").tagName`); !strings.HasPrefix(got, "H") {
		t.Errorf("the result leads to %s, want a heading", got)
	}

	c.run(emulation.SetEmulatedMedia().WithMedia("print"))
	for element, want := range map[string]string{"aside": "none", "header": "none", "footer": "none", "article": "block"} {
		if got := c.eval(`getComputedStyle(document.querySelector("` + element + `")).display`); got != want {
			t.Errorf("on paper, %s has the display %s, want %s", element, got, want)
		}
	}
	c.quiet("the manual")
}
