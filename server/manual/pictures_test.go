package manual_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"html"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"gatehouse/storage/storagetest/must"
)

var pictures = flag.Bool("pictures", false, "take the pictures of the web page and the terminal UI again")

// TestPictures takes web.png, terminal.png, revoke.png and status.png again, with a store
// of made-up people:
//
//	go test ./server/manual -run TestPictures -pictures
func TestPictures(t *testing.T) {
	if !*pictures {
		t.Skip("the pictures stay as they are, without -pictures")
	}
	s := newSession(t)
	s.do(block{}, "gatehouse demo --users 5000 --tokens 40000 --sample sample --data demo", []string{"…"})
	s.tell("export GATEHOUSE_DATA=demo")
	s.tell("echo secret | gatehouse user passwd ada.allen@example.com --password-stdin")
	for _, token := range []string{"deploy --expires 30d --scope deploy --address 10.1.0.0/16", "reports --expires 90d --scope reports:read --scope files"} {
		s.tell("gatehouse token create --user ada.allen@example.com --name " + token)
	}
	s.tell("gatehouse backup copy")
	s.tell("tmux -S tmux -f /dev/null new-session -d -x 98 -y 24 'TERM=xterm-256color gatehouse admin'; sleep 2")
	press := func(keys ...string) {
		s.tell("for key in " + strings.Join(keys, " ") + "; do tmux -S tmux send-keys $key; sleep 1; done")
	}
	screens := map[string]string{}
	take := func(name string) {
		s.tell("sleep 1; tmux -S tmux capture-pane -e -p >screen")
		screen := must.Get(os.ReadFile(s.shell.Dir + "/screen"))(t)
		screens[name] = string(screen)
	}
	press("/", "ada", "Enter", "Down", "Down", "Space", "Down", "Down", "Space", "Down")
	take("terminal.png")
	press("3", "Tab", "Tab", "Tab", "Space", "Down", "Space", "Down", "Space", "R")
	take("revoke.png")
	press("Escape", "5")
	// Something to see in the status: uses that come and go, and some that are refused.
	s.tell("for i in $(seq 160); do for j in $(seq $((i / 9 % 4))); do curl -o /dev/null -H \"X-Auth-Token: $(sed -n ${i}p sample)\" http://" +
		s.real["127.0.0.1:8080"] + "/api/verify; done; [ $((i % 11)) != 0 ] || curl -o /dev/null http://" +
		s.real["127.0.0.1:8080"] + "/api/verify; sleep .2; done")
	take("status.png")
	s.tell("tmux -S tmux kill-server")

	program := must.Get(exec.LookPath("chromium"))(t)
	allocated, cancel := chromedp.NewExecAllocator(context.Background(),
		append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.DisableGPU, chromedp.NoSandbox)...)
	defer cancel()
	ctx, cancel := chromedp.NewContext(allocated)
	defer cancel()
	ctx, cancel = context.WithTimeout(ctx, time.Minute)
	defer cancel()
	taken := map[string][]byte{}
	var web []byte
	must.Do(t, chromedp.Run(ctx,
		emulation.SetDeviceMetricsOverride(1280, 800, 1, false),
		chromedp.Navigate("http://"+s.real["127.0.0.1:8080"]),
		chromedp.SendKeys("[name=username]", "ada.allen@example.com", chromedp.ByQuery),
		chromedp.SendKeys("[name=password]", "secret\r", chromedp.ByQuery),
		chromedp.WaitVisible("table", chromedp.ByQuery),
		chromedp.CaptureScreenshot(&web),
	))
	taken["web.png"] = fewerColours(t, web)
	page := s.dir + "/screen.html"
	for name, screen := range screens {
		must.Do(t, os.WriteFile(page, []byte(asHTML(screen)), 0o600))
		var shot []byte
		must.Do(t, chromedp.Run(ctx, chromedp.Navigate("file://"+page), chromedp.Screenshot("pre", &shot, chromedp.ByQuery)))
		taken[name] = shot
	}
	for name, picture := range taken {
		must.Do(t, os.WriteFile(name, picture, 0o644))
	}
}

// fewerColours takes away shades that nobody sees, which makes a picture half as large.
func fewerColours(t *testing.T, b []byte) []byte {
	full := must.Get(png.Decode(bytes.NewReader(b)))(t)
	few := image.NewPaletted(full.Bounds(), nil)
	shade := func(v uint32) uint8 { return uint8(v>>8)&^7 | uint8(v>>13) } // 255 stays 255
	for y := range full.Bounds().Dy() {
		for x := range full.Bounds().Dx() {
			r, g, b, _ := full.At(x, y).RGBA()
			c := color.RGBA{shade(r), shade(g), shade(b), 255}
			i := slices.Index(few.Palette, color.Color(c))
			if i < 0 && len(few.Palette) < 256 {
				few.Palette, i = append(few.Palette, c), len(few.Palette)
			}
			if i < 0 {
				i = few.Palette.Index(c)
			}
			few.SetColorIndex(x, y, uint8(i))
		}
	}
	var small bytes.Buffer
	must.Do(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, few))
	return small.Bytes()
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
