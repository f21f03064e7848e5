package tui

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/export"
)

// TestExport writes what each screen lists, in both formats, and compares with what the
// command prints of the same query.
func TestExport(t *testing.T) {
	_, c := real(t, 40, 300)
	tokens := func(q api.TokenQuery, f export.Format) string {
		var out bytes.Buffer
		must.Do(t, export.As(f, &out, c.Tokens(t.Context(), q), export.TokenLine))
		return out.String()
	}
	for _, x := range []struct {
		name, keys string
		want       func(export.Format) string
		rows       int // at least
	}{
		{"tokens", "2", func(f export.Format) string { return tokens(api.TokenQuery{}, f) }, 300},
		{"tokens of a filter", "2/idle:90d<enter>", func(f export.Format) string { return tokens(api.TokenQuery{Words: "idle:90d"}, f) }, 50},
		{"in another order", "2sS", func(f export.Format) string {
			return tokens(api.TokenQuery{Order: api.ByCreated, Reverse: true}, f)
		}, 300},
		{"a preset", "3<tab>", func(f export.Format) string {
			return tokens(api.TokenQuery{Filters: api.Where("idle", "180d")}, f)
		}, 10},
		{"a user's, with the revoked", "1<enter>", func(f export.Format) string {
			return tokens(api.TokenQuery{Filters: api.Where("user", "ada.allen@example.com"), Revoked: true}, f)
		}, 1},
		{"users", "1S", func(f export.Format) string {
			var out bytes.Buffer
			must.Do(t, export.As(f, &out, c.Users(t.Context(), api.UserQuery{Reverse: true}), export.UserLine))
			return out.String()
		}, 40},
		{"events", "4S", func(f export.Format) string {
			var out bytes.Buffer
			must.Do(t, export.As(f, &out, c.Events(t.Context(), api.EventQuery{}), func(e api.Event) api.Event { return e }))
			return out.String()
		}, 1},
	} {
		for _, f := range []export.Format{export.AsCSV, export.AsJSON} {
			t.Run(x.name+string(f), func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "out") + string(f)
				d := drive(t, unfollowed{c}, Options{})
				d.press(x.keys + "e")
				d.press(strings.Repeat("<backspace>", 60) + path + "<enter>")
				d.want("Wrote ")
				got, err := os.ReadFile(path)
				if err != nil {
					t.Fatalf("%v\n%s", err, d.View())
				}
				if want := x.want(f); string(got) != want || strings.Count(want, "\n") < x.rows {
					t.Errorf("got\n%.300s\nwant\n%.300s", got, want)
				}
				if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
					t.Errorf("its mode is %v", info.Mode())
				}
			})
		}
	}
}

// TestExportNeverOver: a file that exists stays, whatever is pressed.
func TestExportNeverOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.csv")
	must.Do(t, os.WriteFile(path, []byte("old"), 0o600))
	d := drive(t, people(), Options{})
	d.press("2e" + strings.Repeat("<backspace>", 60) + path + "<enter>")
	d.want("there is such a file already: give another name")
	d.press("<enter>y<enter>")
	if got, _ := os.ReadFile(path); string(got) != "old" {
		t.Errorf("the file has %.60q\n%s", got, d.View())
	}
}

// TestExportRefuses: names of files that programs obey, and places where nothing can be
// written.
func TestExportRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".ssh/authorized_keys", ".bashrc", "x.csv.sh", ".x.csv", "none/x.csv", "x\u202evsc."} {
		d := drive(t, people(), Options{})
		d.press("2e" + strings.Repeat("<backspace>", 60) + dir + "/" + name + "<enter>")
		d.want(" ! ")
		d.wantNot("\u202e", "Wrote")
		if d.box == nil {
			t.Errorf("%s: the box is closed", name)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	d := drive(t, people(), Options{ReadOnly: true})
	if d.press("2e"); d.box != nil {
		t.Errorf("with --read-only it opens\n%s", d.View())
	}
}

// TestExportStops: esc leaves no file, and neither does an error of the server after the
// first rows.
func TestExportStops(t *testing.T) {
	dir := t.TempDir()
	d := drive(t, many(5000), Options{})
	d.press("2e" + strings.Repeat("<backspace>", 60) + dir + "/out.csv")
	d.hold = true
	d.press("<enter>")
	d.want("[....", "0 of 5,000", "esc stops")
	d.press("<esc>")
	d.release()
	d.want("Stopped: the file was not written.")
	f := d.client.(*fake)
	f.err = &api.Error{Status: 503, Message: "The disk is full"}
	d.press("e" + strings.Repeat("<backspace>", 60) + dir + "/out.csv<enter>")
	d.want("The disk is full")
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%v is left", left)
	}
	d.tick(time.Second)
}
