package tui

import (
	"fmt"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// TestPalette: the palette does by name what the keys do, and asks just as much before a
// revocation.
func TestPalette(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("<ctrl+p>")
	d.want(" > _", "enter does it")
	d.press("audit log<enter>")
	d.want("[4 Events]")
	d.press("<ctrl+p>review: never")
	d.want("review: never, tokens without any use")
	d.press("<enter>")
	d.want("[3 Review]", "[never]")
	d.press("<ctrl+p>without any limit<enter>")
	d.want("[unlimited]")
	d.press("<ctrl+p>locked out<enter>")
	d.want("[locked]", "alistair@example.com")
	f.unverified = []string{"ali.baba@corp.example"}
	d.press("<ctrl+p>can't be asked<enter>")
	d.want("[unverified]", "ali.baba@corp.example")
	d.wantNot("alistair@example.com")
	d.press("<esc><ctrl+p>zoe@<esc><ctrl+p>bali")
	d.wantNot("user ali.baba")
	d.press("<backspace><backspace><backspace><backspace>ali.baba<enter>")
	d.want("Users > ali.baba@corp.example")
	f.tokens[0].State = api.StateRevoked
	d.press("<ctrl+p>forty-thieves")
	d.want("revoked token " + f.tokens[0].ID[:10] + " forty-")
	f.tokens[0].State = api.StateLive
	d.press("<esc>2<ctrl+p>revoke the marked<enter>")
	d.want("Revoke 1 token for good?", "> [ Cancel ]")
	d.press("<enter>")
	d.want("Cancelled: nothing was revoked.")
	d.press("<ctrl+p>revoke the marked<enter>")
	d.merged("yy")
	d.press("<ctrl+p>")
	d.paste("revoke the marked\ny")
	d.want("> revoke the markedy_")
	d.press("<esc>")
	if len(f.changes) != 0 {
		t.Errorf("got %v, want no change", f.changes)
	}
	d = drive(t, people(), Options{ReadOnly: true})
	d.press("<ctrl+p>")
	if strings.Contains(d.View(), "revoke") || strings.Contains(d.View(), "lock the user") {
		t.Errorf("it offers what changes something:\n%s", d.View())
	}
}

// TestPaletteFinds: each screen by its name, each action by the word in the line of keys or
// by some of its letters, and a screen before what changes something.
func TestPaletteFinds(t *testing.T) {
	d := drive(t, people(), Options{})
	for _, c := range []struct{ typed, want string }{
		{"users", "users: all users"}, {"tokens", "tokens: all tokens"}, {"review", "review: ready-made"}, {"events", "events: the audit log"}, {"status", "status: how"},
		{"export", "export: write"}, {"help", "help: all keys"}, {"revoke", "revoke"}, {"lock", "lock the user"},
		{"rvk", "revoke"}, {"lck", "lock the user"}, {"expt", "export: write"}, {"stts", "status: how"}, {"tkns", "tokens: all tokens"}, {"rvw", "review: ready-made"}, {"hlp", "help: all keys"},
		{"re", "review: ready-made"}, {"review: never", "review: never,"},
		{"alice", "user alice@example.com"}, {"laptop", "token 01"}, {`"alice`, "user alice@example.com"}, {`"laptop"`, "token 01"},
	} {
		d.press("1<ctrl+p>" + c.typed)
		p := d.box.(*palette)
		if found := p.found(); len(found) == 0 || !strings.HasPrefix(found[0].name, c.want) {
			t.Errorf("%s: got %+v", c.typed, found[:min(3, len(found))])
		}
		d.press("<esc>")
	}
	for _, width := range []int{60, 80, 100, 120} { // the key and the command are seen
		d.send(tea.WindowSizeMsg{Width: width, Height: 35})
		d.press("2<ctrl+p>revoke the marked")
		d.want("R   gatehouse token revoke ID")
		d.press("<esc>")
		// With a long filter the command is cut, and the key is seen.
		d.press("2/idle:90d created-after:2020-01-01 scope:" + strings.Repeat("x", 60) + "<enter><ctrl+p>next sort")
		d.want("   s   gatehouse token list")
		d.press("<esc><esc>")
	}
	// What is typed is not compared with the filter in the commands.
	f := people()
	f.users = append(f.users, api.User{UID: "n.smith@example.com", Name: "Nora", State: api.StateActive})
	d = drive(t, f, Options{})
	d.press("/nora<enter><ctrl+p>nora")
	if found := d.box.(*palette).found(); len(found) == 0 || found[0].name != "user n.smith@example.com" {
		t.Errorf("nora, with nora as the filter: got %+v", found)
	}
}

// TestARefusedAKeepsRFromOneRow: who meant all rows does not come upon the question about one.
func TestARefusedAKeepsRFromOneRow(t *testing.T) {
	d := drive(t, people(), Options{})
	for _, keys := range []string{"1A", "2A", "2AR"} {
		d.press(keys + "R")
		if d.want("Filter first"); d.box != nil {
			t.Errorf("%s: %T", keys, d.box)
		}
	}
	d.press("jR")
	d.want("Revoke 1 token for good?")

	d = drive(t, people(), Options{}) // the only one that matches is taken out
	d.press("2/alina<enter>A R")
	if d.want("Nothing is marked any more."); d.box != nil {
		t.Errorf("the one that was taken out: %T", d.box)
	}

	f := people()
	for n := range 1001 {
		f.users = append(f.users, api.User{UID: fmt.Sprintf("many%d@example.com", n), State: api.StateActive})
	}
	d = drive(t, f, Options{})
	d.press("1/many<enter>")
	d.hold = true
	d.press("AR")
	d.want("still being read")
	d.release()
	d.press("R")
	if d.want("More than 1,000 users match: filter first."); d.box != nil {
		t.Errorf("more than can be marked: %T", d.box)
	}
}

// TestALateAMarksNothing: users that A was to mark for one question of Review, and that
// come when another is shown, or the same again, stay unmarked, and R is not about them.
func TestALateAMarksNothing(t *testing.T) {
	for _, keys := range []string{"<shift+tab>", "<tab>", "<tab><shift+tab>"} {
		f := people()
		f.users = append(f.users, api.User{UID: "robot@service", Source: "service", State: api.StateActive, Orphaned: true, Tokens: 1})
		f.tokens = append(f.tokens, api.Token{ID: id(99), UID: "robot@service", State: api.StateLive, ExpiresOn: api.Never})
		d := drive(t, f, Options{})
		d.press("3<shift+tab><shift+tab><shift+tab>")
		d.want("[locked]", "alistair@example.com")
		d.hold = true
		d.press("A")
		late := d.held
		d.held, d.hold = nil, false
		if len(late) != 1 {
			t.Fatalf("A asks %d questions", len(late))
		}
		d.press(keys)
		d.run(late[0])
		d.wantNot("marked (")
		d.press("R")
		if strings.HasPrefix(keys, "<shift") {
			d.want("[orphaned]", "Revoke", "robot@service")
			d.wantNot("alistair")
		}
	}
	d := drive(t, people(), Options{}) // in time
	d.press("3<shift+tab><shift+tab><shift+tab>A")
	d.want("1 marked (")
}

// TestNoticesLeave: what was said before a box was opened does not stand under it.
func TestNoticesLeave(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("2jR<esc>")
	d.want("Cancelled: nothing was revoked.")
	d.press("?")
	d.wantNot("Cancelled")
}

// TestPaletteDropsLateNames: names found for letters typed earlier are not shown.
func TestPaletteDropsLateNames(t *testing.T) {
	d := drive(t, people(), Options{})
	d.press("<ctrl+p>")
	d.hold = true
	d.press("ali")
	older := d.held
	d.held = nil
	d.press("n")
	d.release()
	d.want("user alina@example.com")
	for _, c := range older {
		d.deliver(c())
	}
	d.wantNot("user alice@example.com")
}

// TestRevokeAllNeedsAFilter: A on all tokens does nothing, and with a filter R then asks for
// the number.
func TestRevokeAllNeedsAFilter(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("2A")
	d.want("Filter first")
	d.press("/alice<enter>AR")
	d.want("Revoke all 3 tokens that match alice for good?", "Type 3, then enter")
	d.press("3<enter>")
	d.want("Revoked 3 tokens.")
	d.press("1j<enter>AR")
	d.want("Nothing to revoke")
}
