package manual_test

import (
	"context"
	"flag"
	"fmt"
	"html"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var pictures = flag.Bool("pictures", false, "take the pictures of the web page and the terminal UI again")

// TestPictures takes web.png and terminal.png again, with a store of made-up people:
//
//	go test ./server/manual -run TestPictures -pictures
func TestPictures(t *testing.T) {
	if !*pictures {
		t.Skip("the pictures stay as they are, without -pictures")
	}
	s := newSession(t)
	s.do(block{}, "gatehouse demo --users 5000 --tokens 40000 --data demo", []string{"…"})
	s.tell("export GATEHOUSE_DATA=demo")
	s.tell("echo secret | gatehouse user passwd ada.allen@example.com --password-stdin")
	s.tell("tmux -S tmux -f /dev/null new-session -d -x 98 -y 24 'TERM=xterm-256color gatehouse admin'")
	s.tell("sleep 2; tmux -S tmux send-keys / 'ada' Enter; sleep 1; tmux -S tmux send-keys Down Down Space Down Space; sleep 2")
	s.tell("tmux -S tmux capture-pane -e -p >screen; tmux -S tmux kill-server")
	screen, err := os.ReadFile(s.shell.Dir + "/screen")
	if err != nil {
		t.Fatal(err)
	}

	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal(err)
	}
	allocated, cancel := chromedp.NewExecAllocator(context.Background(),
		append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.DisableGPU, chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocated)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var web, terminal []byte
	page := s.dir + "/screen.html"
	if err := os.WriteFile(page, []byte(asHTML(string(screen))), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Run(ctx,
		emulation.SetDeviceMetricsOverride(1280, 800, 1, false),
		chromedp.Navigate("http://"+s.real["127.0.0.1:8080"]),
		chromedp.SendKeys("[name=username]", "ada.allen@example.com", chromedp.ByQuery),
		chromedp.SendKeys("[name=password]", "secret\r", chromedp.ByQuery),
		chromedp.WaitVisible("table", chromedp.ByQuery),
		chromedp.CaptureScreenshot(&web),
		chromedp.Navigate("file://"+page),
		chromedp.Screenshot("pre", &terminal, chromedp.ByQuery),
	); err != nil {
		t.Fatal(err)
	}
	for name, png := range map[string][]byte{"web.png": web, "terminal.png": terminal} {
		if err := os.WriteFile(name, png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// asHTML turns a terminal's text, with its colours, into a page.
func asHTML(screen string) string {
	colours := []string{"#555", "#e55", "#6c6", "#dc5", "#69e", "#c7d", "#4dd", "#ddd"}
	var b strings.Builder
	b.WriteString(`<meta charset="utf-8"><body style="margin:0"><pre style="display:inline-block;margin:0;padding:12px 16px;background:#111;color:#ddd;font:15px/19px 'DejaVu Sans Mono',monospace">`)
	style := ""
	last := 0
	for _, m := range regexp.MustCompile("\x1b\\[([0-9;]*)m").FindAllStringSubmatchIndex(screen, -1) {
		fmt.Fprintf(&b, `<span style="%s">%s</span>`, style, html.EscapeString(screen[last:m[0]]))
		last = m[1]
		for _, code := range strings.Split(screen[m[2]:m[3]], ";") {
			var n int
			fmt.Sscan(code, &n)
			switch {
			case n == 0:
				style = ""
			case n == 1:
				style += "font-weight:bold;"
			case n == 2:
				style += "opacity:.65;"
			case n == 4:
				style += "text-decoration:underline;"
			case n == 7:
				style += "background:#ddd;color:#111;"
			case n >= 30 && n <= 37, n >= 90 && n <= 97:
				style += "color:" + colours[n%10] + ";"
			case n == 39:
				style += "color:#ddd;"
			}
		}
	}
	fmt.Fprintf(&b, `<span style="%s">%s</span></pre>`, style, html.EscapeString(strings.TrimRight(screen[last:], "\n")))
	return b.String()
}
