package tui

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
	"gatehouse/tui/box"
	"gatehouse/tui/plain"
	"gatehouse/tui/say"
)

// refusing refuses a filter, as the server does.
type refusing struct{ *fake }

func (r refusing) Tokens(ctx context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	if strings.Contains(q.Words, "idle:x") {
		return func(yield func(api.Token, error) bool) {
			yield(api.Token{}, &api.Error{Status: http.StatusBadRequest, Message: `Idle: "x" is not a span of time`})
		}
	}
	return r.fake.Tokens(ctx, q)
}

// TestQueryLine: tab shows how it completes, and an error in a filter is shown under the
// line until the filter is right.
func TestQueryLine(t *testing.T) {
	d := drive(t, refusing{people()}, Options{})
	d.press("2/us<tab>")
	d.want("/ use_", "   user  used-after  used-before")
	d.press("d-a<tab>")
	d.want("/ used-after:_")
	d.wantNot("   user  used-after")
	for range len("used-after:") {
		d.press("<backspace>")
	}
	d.press("idle:x")
	d.want("/ idle:x_", `   ! Idle: "x" is not a span of time`)
	if strings.Count(d.View(), "is not a span") != 1 {
		t.Errorf("it is said more than once:\n%s", d.View())
	}
	d.press("<backspace><backspace><backspace><backspace><backspace><backspace>ci")
	d.want("1 token matches")
	d.wantNot("is not a span")
	d.press("<esc>")
	d.want("10 tokens · rows 1-10 · last used, oldest first")
}

// TestTypedReplacesTheScreens: a filter that the screen has, too, and that takes one value,
// counts as it is typed: in the listing, the count, the revocation and the export. The page
// of a user keeps its user, and says so.
func TestTypedReplacesTheScreens(t *testing.T) {
	_, c := real(t, 30, 700)
	rows := func(words string) (n int) {
		for range must.All(c.Tokens(t.Context(), api.TokenQuery{Words: words}))(t) {
			n++
		}
		return n
	}
	for _, s := range []struct{ keys, typed, same, says, asks string }{
		{"3", "idle:180d", "idle:180d", "in place of idle:90d", "tokens that match idle:180d for good?"},
		{"3<tab><tab><tab><tab><tab><tab>", "idle:1y", "unlimited idle:1y", "in place of idle:30d", "tokens that match unlimited idle:1y for good?"},
		{"3<tab><tab><tab>", "never-used", "never-used", "", "tokens without any use that match never-used for good?"},
		{"3", "id:01", "idle:90d id:01", "", "tokens unused for 90 days that match id:01 for good?"},
	} {
		d := drive(t, unfollowed{c}, Options{})
		d.press(s.keys + "/" + s.typed + "<enter>")
		n := rows(s.same)
		if n == 0 {
			t.Fatalf("nothing matches %s: the test tests nothing", s.same)
		}
		d.want(say.Count(n, "token")+" match", s.says)
		d.wantNot("given twice")
		if s.says == "" {
			d.wantNot("in place of")
		}
		d.press("AR")
		d.want("Revoke all "+say.Count(n, "token"), s.asks, "Type "+strconv.Itoa(n)+", then enter")
	}
	d := drive(t, unfollowed{c}, Options{})
	d.press("3<tab><tab><tab><tab><tab><tab><tab>/state:active<enter>")
	d.want("in place of state:unverified", "30 users match")
	d.press("/<backspace><backspace><backspace><backspace><backspace><backspace>suspended<enter>")
	d.want("in place of state:unverified", "No user matches state:suspended")
	d.press("<esc>/nobody-has-this<enter>")
	d.want("None of the users about whom a provider can't be asked matches nobody-has-this")
	d.press("<esc>")
	d.press("<tab><tab><tab>")
	for d.screen().place() != onNetworks {
		d.press("<tab>")
	}
	d.press("/action:user.add<enter>")
	d.wantNot("given twice")
	d.want("in place of action:token.network")
	d.press("<esc>/action:user.unlock<enter>")
	d.want("No event matches action:user.unlock")
	d.press("<esc>/about:a@example.com about:b@example.com<enter>")
	d.want("! about: is given twice, but takes one value")
	d.press("<esc>")
	d.press("3<esc><tab>/idle:9y<enter>")
	d.want("No token matches idle:9y")

	d.press("1<enter>/user:x<enter>")
	d.want("! user: this page has only the tokens of ", "; 2 has those of all users")
	d.press("A")
	d.want("Nothing can be marked: user: this page")
	if d.press("R"); d.box != nil {
		t.Error("R acts on a query line that is refused")
	}
}

// TestRevokedAreNotHidden: a listing without the revoked tokens says how many its filter
// would find, until it asks for them or is about something else; also without a screen.
func TestRevokedAreNotHidden(t *testing.T) {
	_, c := real(t, 5, 60)
	var ids []string
	for tk := range must.All(c.Tokens(t.Context(), api.TokenQuery{Words: "ada.allen"}))(t) {
		ids = append(ids, tk.ID)
	}
	n := len(ids)
	if n < 3 {
		t.Fatalf("ada has %d tokens: the test tests nothing", n)
	}
	if _, err := c.Revoke(t.Context(), api.Revocation{IDs: ids[1:]}); err != nil {
		t.Fatal(err)
	}
	d := drive(t, unfollowed{c}, Options{})
	d.press("2/ada.allen")
	says := fmt.Sprintf("%d revoked tokens match: add state:revoked", n-1)
	d.want("1 token matches", says)
	d.press(" state:revoked")
	d.want(fmt.Sprintf("%d tokens match", n-1))
	d.wantNot("add state:revoked")
	d.press("<esc>/id:" + ids[1] + "<enter>")
	d.want("No token matches id:"+ids[1], "1 revoked token matches: add state:revoked")
	if d.press("A"); !strings.Contains(d.View(), "Nothing matches.") {
		t.Errorf("A marks what is not listed:\n%s", d.View())
	}
	d.press("<esc>/nobody-has-this<enter>")
	d.wantNot("revoked token")

	var out strings.Builder
	must.Do(t, plain.Run(t.Context(), strings.NewReader("tokens id:"+ids[1]+"\n"), &out, newMachine(t.Context(), c, Options{Now: func() time.Time { return noon }})))
	if !strings.Contains(out.String(), "\n1 revoked token matches: add state:revoked\n") {
		t.Errorf("without a screen, it says\n%s", out.String())
	}
	// The page of the user shows all: those that work first.
	d.press("1/ada.allen<enter><enter>")
	d.want(fmt.Sprintf("1 live   %d revoked", n-1), "── revoked ──", fmt.Sprintf("%d tokens · rows 1-", n))
	if first, _ := d.screen().(*userTokens).current(); first.State != api.StateLive {
		t.Errorf("the first row is %s", first.State)
	}
	d.press("s")
	d.want("created, oldest first", "── revoked ──")
	if first, _ := d.screen().(*userTokens).current(); first.State != api.StateLive {
		t.Errorf("by creation, the first row is %s", first.State)
	}
	d.press("G")
	if last, _ := d.screen().(*userTokens).current(); last.State != api.StateRevoked {
		t.Errorf("the last row is %s", last.State)
	}
}

// TestTwins: the commands in the help and the palette select what the screen selects now.
func TestTwins(t *testing.T) {
	f := people()
	for _, c := range []struct{ keys, want, not string }{
		{"2", "= gatehouse token list\n", ""},
		{"2/idle:90d name:\"my ci\" it's never-used scope:-x<enter>", `= gatehouse token list --search 'it'\''s' --name 'my ci' --idle 90d --never-used --scope '-x'`, ""},
		{"2s/allen<enter>S", "= gatehouse token list --search allen --sort -created", ""},
		{"3", "= gatehouse token list --idle 90d\n", ""},
		{"3/alice<enter>A", "= gatehouse token revoke --search alice --idle 90d\n", ""},
		{"3/idle:1d<enter>", "= gatehouse token list --idle 1d --csv\n", ""},
		{"/ali state:disabled<enter>", "= gatehouse user list --search ali --state disabled --csv", ""},
		{"sS", "= gatehouse user list --sort -lastUsed\n", ""},
		{"3<shift+tab><shift+tab><shift+tab><shift+tab>", "= gatehouse user list FILTER…\n", "--csv"},
		{"2/user:ada<enter>A", "= gatehouse token list --search TEXT\n", "--csv"},
		{"2/user:ada<enter>A", "= gatehouse token revoke ID\n", "--csv"},
		{"2/owner:ada idle:1d<enter>", "= gatehouse token list --search TEXT\n", "--csv"},
		{"2/user:ada@example.com<enter>", "= gatehouse token list --user ada@example.com\n", ""},
		{"j<enter>/ci<enter>", "= gatehouse token list --user alice@example.com --search ci\n", ""},
		{"4/by:root about:alice@example.com<enter>", "= gatehouse events --by root --about alice@example.com --json\n", ""},
		{"4/by:root login<enter>", "= gatehouse events --by ACTOR --since 24h\n", "--by root"},
		{"4/by:root reason:x<enter>", "= gatehouse events --by ACTOR --since 24h\n", "--by root"},
		{"3<shift+tab><shift+tab><shift+tab>/x\u202e<enter>", "= gatehouse user list --search TEXT\n", "--csv"},
	} {
		d := drive(t, f, Options{})
		d.send(tea.WindowSizeMsg{Width: 119, Height: 200})
		d.press(c.keys + "?")
		var lines string
		for l := range strings.Lines(d.View()) {
			lines += strings.TrimRight(strings.Trim(strings.TrimSpace(l), "│"), " ") + "\n"
		}
		if !strings.Contains(lines, c.want) {
			t.Errorf("%s: %s is missing from\n%s", c.keys, c.want, lines)
		}
		if c.not != "" && strings.Contains(lines, c.not) {
			t.Errorf("%s: %s selects something else than the screen:\n%s", c.keys, c.not, lines)
		}
		d.press("<esc><ctrl+p>")
		if want, _, _ := strings.Cut(strings.Trim(c.want, "= \n"), " --"); !strings.Contains(d.View(), want) {
			t.Errorf("%s: %s is missing from the palette\n%s", c.keys, want, d.View())
		}
	}
}

// TestALongCommandIsWhole: the help shows a command that does not fit in several lines, which
// a shell reads as the same, or says that it is too long: a command without its last filter
// would revoke more.
func TestALongCommandIsWhole(t *testing.T) {
	const want = `gatehouse token revoke --search alice --search 'it'\''s  a' --search backup --idle 30d --unlimited --expires-within 30d --state live`
	for _, width := range []int{60, 80, 100, 200} {
		d := drive(t, people(), Options{})
		d.send(tea.WindowSizeMsg{Width: width, Height: 200})
		d.press("2/alice \"it's  a\" backup idle:30d unlimited expires-within:30d state:live<enter>")
		d.screen().(*tokens).whole = true // as after A, if something matched
		d.press("?")
		var lines []string
		for l := range strings.Lines(d.View()) {
			if l = strings.TrimSuffix(l, "\n"); !strings.HasSuffix(l, ` \`) {
				l = strings.TrimRight(l, " │")
			}
			l = strings.TrimLeft(l, " │")
			if n := len(lines) - 1; n >= 0 && strings.HasSuffix(lines[n], ` \`) { // nothing is behind the \, or a shell would take it for a blank
				lines[n] = strings.TrimSuffix(lines[n], `\`) + l
			} else {
				lines = append(lines, l)
			}
		}
		if !slices.Contains(lines, "= "+want) {
			t.Errorf("%d columns: %s is missing from\n%s", width, want, strings.Join(lines, "\n"))
		}
		d.send(tea.WindowSizeMsg{Width: width, Height: 20})
		d.press("G") // to the last line, however many there are
		d.want("quit; ctrl+c quits anywhere")
		d.send(tea.WindowSizeMsg{Width: width, Height: 200})
		d.press("<esc>/ " + strings.Repeat("x", 200) + "<enter>")
		d.screen().(*tokens).whole = true
		d.press("?")
		d.want("= (too long for this screen)")
		d.wantNot("= gatehouse token revoke --")
	}
}

// TestUselessPasswords: a password with which nobody can log in is not made without a word.
func TestUselessPasswords(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("jjP")
	d.wantNot("logins.local", "only once")
	f.users[2].State = api.StateDisabled
	d.press("<esc>rP")
	d.want("The password works only once the user is active.")
	f.status.NoPasswords = true
	for _, width := range []int{60, 100} {
		d.send(tea.WindowSizeMsg{Width: width, Height: 20})
		d.press("<esc>rP")
		d.want(box.NoPasswords)
		d.press("<esc>n")
		d.want("! " + box.NoPasswords)
		d.press("<right>")
		d.wantNot(box.NoPasswords)
	}
}

// TestNoSilentKeys: a key that can do nothing now says why.
func TestNoSilentKeys(t *testing.T) {
	for _, c := range []struct {
		keys, want string
		o          Options
	}{
		{"/nobody<enter>R", "There is no row to act on.", Options{}},
		{"/nobody<enter> ", "There is no row to act on.", Options{}},
		{"2/nobody<enter><enter>", "There is no row to act on.", Options{}},
		{"4/nobody<enter>y", "There is no row to act on.", Options{}},
		{"2l", "l does nothing on this screen: ? lists the keys.", Options{}},
		{"5R", "R does nothing on this screen: ? lists the keys.", Options{}},
		{"R", "R does nothing: this is --read-only.", Options{ReadOnly: true}},
		{"5R", "R does nothing on this screen: ? lists the keys.", Options{ReadOnly: true}},
		{"2<enter>o", "There are no older events.", Options{}},
	} {
		d := drive(t, people(), c.o)
		d.press(c.keys)
		if d.want(c.want); d.box != nil {
			t.Errorf("%s opens a box:\n%s", c.keys, d.View())
		}
		d.press("3")
		d.wantNot(c.want)
	}
	f := people() // a user without tokens is still a user
	f.tokens = nil
	d := drive(t, f, Options{})
	d.press("j<enter>l")
	d.want("Lock alice@example.com?")
	d.press("<esc>U")
	d.want("Let alice@example.com log in again?") // whether the logins are delayed now, only the server knows
	d.press("<esc>")
	for _, key := range []string{"R", "<enter>", " ", "a", "y", "Y"} {
		d.notice = ""
		d.press(key)
		if d.want("There is no row to act on."); d.box != nil || len(d.sent) > 0 {
			t.Errorf("%s acts on a row that is not there:\n%s", key, d.View())
		}
	}
	d = drive(t, people(), Options{})
	d.press("2 /nobody<enter>") // the mark is on another row
	for _, key := range []string{"<enter>", "y"} {
		d.notice = ""
		d.press(key)
		d.want("There is no row to act on.")
	}
	d.press("R")
	d.want("Revoke ")
}

// TestAFailedListingSaysSo: where the rows would be, also when the query line replaces a
// filter of the screen.
func TestAFailedListingSaysSo(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.press("3/idle:1y<enter>")
	d.want("in place of idle:90d")
	f.err = &api.Error{Status: 503, Message: "The disk is full"}
	d.press("s")
	d.want("in place of idle:90d", "     ! The disk is full", "(r asks again)")
}

// TestPosition: where the screen is in a long listing, from both ends.
func TestPosition(t *testing.T) {
	d := drive(t, many(20_000), Options{})
	d.press("2")
	d.want("20,000 tokens · rows 1-", "┃")
	d.press("G")
	d.want("-20,000 · last used")
	d.press("g")
	d.want("rows 1-")
	for range 60 {
		d.press("<pgdown>")
	}
	l := &d.screen().(*tokens).list
	rows, _ := l.Visible(l.Height())
	id := rows[0].ID
	from, _, ok := d.screen().(*tokens).shown()
	all := d.client.(*fake).tokensOf(api.TokenQuery{})
	if !ok || l.FromStart() || all[from-1].ID != id {
		t.Errorf("row %d (%v) is %s, the screen begins with %s", from, ok, all[from-1].ID, id)
	}
}

// TestWhatIsNotShownIsNoTwin: in ASCII, "é" would stand there as "?", which selects other tokens.
func TestWhatIsNotShownIsNoTwin(t *testing.T) {
	for _, ascii := range []bool{false, true} {
		d := drive(t, people(), Options{ASCII: ascii})
		d.send(tea.WindowSizeMsg{Width: 120, Height: 200})
		d.press("2/é<enter>?")
		if ascii {
			d.wantNot("--search '")
		} else {
			d.want("= gatehouse token list --search 'é'")
		}
	}
}

// TestWhoMayIsSeen: a choice of the palette that the role does not allow says who may, even if its
// name is cut for it.
func TestWhoMayIsSeen(t *testing.T) {
	const why = "not as auditor: it needs the role operator"
	c := choice{name: "revoke the marked tokens, or the one under the cursor", hint: why, dim: true}
	for _, width := range []int{65, 71, 110} { // of a line on terminals from 74 columns
		if got := c.line(width); !strings.Contains(got, why) || !strings.HasPrefix(got, "revoke the") {
			t.Errorf("%d columns: got %q", width, got)
		}
	}
}
