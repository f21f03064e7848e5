package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"gatehouse/storage/storagetest/must"
)

// chromium is a real browser with one window, and what it complained of.
type chromium struct {
	testing.TB
	ctx context.Context
	axe string // the source of axe-core

	left int // counts the pages that were left

	mu     sync.Mutex
	faults []string
}

// newChromium starts a browser. Rules map host names, as in "MAP gate.example 127.0.0.1".
func newChromium(t testing.TB, rules ...string) *chromium {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes long: not with -short")
	}
	program, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, "install the Debian package chromium")
	}
	c := &chromium{TB: t}
	c.axe = readAxe(t)
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.DisableGPU,
		chromedp.NoSandbox, // which root can't have, and which our own pages need not
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", strings.Join(rules, ",")),
		chromedp.WSURLReadTimeout(5*time.Minute),
	)
	allocated, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(allocated)
	t.Cleanup(cancel)
	// The test gives up on what never comes, long after a busy machine would have brought
	// it.
	c.ctx, cancel = context.WithTimeout(ctx, 10*time.Minute)
	t.Cleanup(cancel)
	chromedp.ListenTarget(ctx, c.heard)
	must.Do(t, chromedp.Run(ctx, log.Enable(), runtime.Enable(), emulation.SetFocusEmulationEnabled(true)))
	return c
}

// missing ends a test that lacks a program: .ci/run installs it.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// readAxe reads axe-core, which finds barriers to people on a page.
func readAxe(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(os.Getenv("AXE_CORE"))
	if err != nil {
		missing(t, "set AXE_CORE to the axe.min.js of the npm package axe-core, as .ci/run does")
	}
	return string(b)
}

func (c *chromium) heard(event any) {
	fault := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Source == log.SourceNetwork && strings.Contains(e.Entry.Text, "the server responded with a status of 4") {
			return // a page with an error says so itself
		}
		fault = fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL)
	case *runtime.EventConsoleAPICalled:
		fault = fmt.Sprintf("console.%s", e.Type)
	case *runtime.EventExceptionThrown:
		fault = e.ExceptionDetails.Error()
	case *page.EventJavascriptDialogOpening:
		fault = "a dialog: " + e.Message
	default:
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fault)
}

func (c *chromium) run(actions ...chromedp.Action) {
	c.Helper()
	must.Do(c, chromedp.Run(c.ctx, actions...))
}

// eval returns the value of an expression of JavaScript, or of its promise.
func (c *chromium) eval(expression string) (value string) {
	c.Helper()
	c.run(chromedp.Evaluate("Promise.resolve("+expression+").then(String)", &value, withGesture))
	return value
}

// withGesture makes a script count as what a person did, which is what a page needs for
// the clipboard, and waits for its promise.
func withGesture(p *runtime.EvaluateParams) *runtime.EvaluateParams {
	return p.WithAwaitPromise(true).WithUserGesture(true)
}

// button is the XPath of the buttons and links with exactly this text on them.
func button(text string) string {
	return fmt.Sprintf(`//*[self::button or self::a][normalize-space()=%q]`, text)
}

// press clicks the first button or link with that text and waits for the next page.
func (c *chromium) press(text string) {
	c.Helper()
	c.awaitPage(c.click(button(text)))
}

// click clicks an element, which a CSS selector or an XPath names. It waits until the
// element is there and the mouse can reach it. It clicks the element, not the place where
// it was seen: that place moves when the window has just changed its size.
func (c *chromium) click(element string) chromedp.Action {
	find := fmt.Sprintf("document.querySelector(%q)", element)
	if strings.HasPrefix(element, "//") {
		find = fmt.Sprintf("document.evaluate(%q, document, null, XPathResult.FIRST_ORDERED_NODE_TYPE).singleNodeValue", element)
	}
	script := fmt.Sprintf(`(() => {
		const e = %s
		if (!e) return "there is no " + %q
		e.scrollIntoView({block: "center", behavior: "instant"})
		const r = e.getBoundingClientRect()
		const top = document.elementFromPoint(r.x + r.width/2, r.y + r.height/2)
		if (!e.contains(top)) return "in front of " + %[2]q + " is " + (top ? top.outerHTML : "nothing")
		e.click()
		return ""
	})()`, find, element)
	return chromedp.ActionFunc(func(ctx context.Context) error {
		for {
			var wrong string
			err := chromedp.Evaluate(script, &wrong, withGesture).Do(ctx)
			var answer *cdproto.Error
			if errors.As(err, &answer) && answer.Message == "Inspected target navigated or closed" {
				return nil // the browser left for another site before the script said that it clicked
			}
			if err != nil || wrong == "" {
				return err
			}
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				return fmt.Errorf("%w: %s", ctx.Err(), wrong)
			}
		}
	})
}

// awaitPage takes actions that lead to another page, and waits for that page. It looks at
// the page itself: the events of a navigation come in any order, and a missed event would
// never come again. A page that comes back whole has the mark of an earlier time.
func (c *chromium) awaitPage(actions ...chromedp.Action) {
	c.Helper()
	c.left++
	c.run(chromedp.Evaluate(fmt.Sprintf(`window.left = %d`, c.left), nil))
	c.run(actions...)
	c.await(fmt.Sprintf(`window.left !== %d && document.readyState === "complete"`, c.left))
}

// back goes back to the page before, and waits for it. It asks the browser: a script that
// calls history.back may lose its answer, because the browser leaves the page without
// waiting for the script to end.
func (c *chromium) back() {
	c.Helper()
	c.awaitPage(chromedp.ActionFunc(func(ctx context.Context) error {
		at, pages, err := page.GetNavigationHistory().Do(ctx)
		if err != nil {
			return err
		}
		if at < 1 {
			return fmt.Errorf("there is no page before the first of %d", len(pages))
		}
		return page.NavigateToHistoryEntry(pages[at-1].ID).Do(ctx)
	}))
}

// await waits until an expression is true, on this page or a later one.
func (c *chromium) await(expression string) {
	c.Helper()
	for there := false; !there; {
		err := chromedp.Run(c.ctx, chromedp.Evaluate(expression, &there))
		if c.ctx.Err() != nil {
			c.Fatal(c.ctx.Err(), err)
		}
		if err != nil || !there { // the old page may be gone, and the new one not yet there
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (c *chromium) fill(name, text string) {
	c.Helper()
	field := "[name=" + name + "]"
	c.eval(`document.querySelector("` + field + `").value = ""`)
	c.run(chromedp.SendKeys(field, text, chromedp.ByQuery))
}

// choose chooses from a list, as a person does who opens it.
func (c *chromium) choose(name, value string) chromedp.Action {
	return chromedp.SetValue("[name="+name+"]", value, chromedp.ByQuery)
}

func (c *chromium) login(username, password string) {
	c.Helper()
	c.fill("username", username)
	c.fill("password", password)
	c.press("Log in")
}

func (c *chromium) changePassword(current, next string) {
	c.Helper()
	c.fill("current", current)
	c.fill("new", next)
	c.fill("again", next)
	c.press("Change password")
}

// wantText checks that the page says something.
func (c *chromium) wantText(text string) {
	c.Helper()
	if got := c.eval(`document.body.innerText`); !strings.Contains(got, text) {
		c.Fatalf("the page lacks %q:\n%s", text, got)
	}
}

// looksWell checks the page as it is, in light and dark and wide and narrow: no
// complaints of the browser, nothing wider than the window, and no barrier that axe-core
// knows.
func (c *chromium) looksWell(state string) {
	c.Helper()
	c.quiet(state)
	c.run(chromedp.Evaluate(c.axe, nil))
	for _, view := range []struct {
		scheme string
		width  int64
	}{{"light", 1280}, {"dark", 1280}, {"light", 360}} { // narrow, the colours are the same
		c.run(emulation.SetDeviceMetricsOverride(view.width, 800, 1, false),
			emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: view.scheme}}))
		c.wantNoBarrier(fmt.Sprintf("%s, %s, %d wide", state, view.scheme, view.width))
	}
	c.fits(state)
}

// fits checks that the page is no wider than a small telephone.
func (c *chromium) fits(state string) {
	c.Helper()
	for _, width := range []int64{360, 320} {
		c.run(emulation.SetDeviceMetricsOverride(width, 800, 1, false))
		if got := c.eval(`document.documentElement.scrollWidth + " in " + innerWidth`); got != fmt.Sprintf("%d in %[1]d", width) {
			c.Errorf("%s: the page is %s wide", state, got)
		}
	}
	c.run(emulation.ClearDeviceMetricsOverride())
}

func (c *chromium) wantNoBarrier(state string) {
	c.Helper()
	got := c.eval(`axe.run(document, {resultTypes: ["violations"]}).then(r => JSON.stringify({
		passes: r.passes.length,
		violations: r.violations.map(v => v.id + ": " + v.nodes.map(n => n.html + " " + n.failureSummary).join("; ")),
	}))`)
	var found struct {
		Passes     int
		Violations []string
	}
	if err := json.Unmarshal([]byte(got), &found); err != nil || found.Passes == 0 {
		c.Fatalf("%s: axe-core said %.300s (%v)", state, got, err)
	}
	for _, v := range found.Violations {
		c.Errorf("%s: %s", state, v)
	}
}

// quiet checks that the browser did not complain: no error of a script, no breach of the
// page's policy, nothing that did not load.
func (c *chromium) quiet(state string) {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		c.Errorf("%s: the browser complains: %s", state, f)
	}
	c.faults = nil
}
