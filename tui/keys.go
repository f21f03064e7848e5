package tui

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
	"gatehouse/tui/box"
	"gatehouse/tui/say"
	"gatehouse/tui/text"
)

// binding is what a key does, where, and which command does the same.
type binding struct {
	keys    []string
	show    string // the keys as the help writes them
	short   string // for the bottom line; empty: only in the help
	help    string
	on      place
	aims    bool     // is about the row under the cursor, which must be there, except:
	marked  bool     // the marked rows, if there are any
	all     bool     // all that match
	ofUser  bool     // the user of the screen, where there is one
	changes bool     // not with --read-only
	least   api.Role // what changes needs; empty: operator
	writes  bool     // a file on this host: neither with --read-only
	moves   bool     // only moves the cursor, or back
	twin    string   // the command that does the same
	undo    string   // the one that does the same for a user who is disabled
	lists   string   // it is the one that lists what the screen does, and this after it; "-": nothing
	tab     string   // the name of the screen that it leads to
	do      func(*model) tea.Cmd
}

// needs returns the role that may do it; empty: any.
func (b binding) needs() api.Role {
	if !b.changes {
		return ""
	}
	return cmp.Or(b.least, api.Operator)
}

// may reports whether the administrator's role allows what the binding does. As long as
// the role is not known, the server's answer will say.
func (m *model) may(b binding) bool {
	return m.status.Role == "" || m.status.Role.Covers(b.needs())
}

// forbidden says why the role does not allow what the binding does.
func (m *model) forbidden(b binding) string {
	return "not as " + string(m.status.Role) + ": it needs the role " + string(b.needs())
}

// refusal is forbidden, and who may do it. What every server has comes last: a narrow
// terminal cuts the end.
func (m *model) refusal(b binding) string {
	var who []string
	for _, name := range slices.Sorted(maps.Keys(m.status.Groups)) {
		if m.status.Groups[name].Covers(b.needs()) {
			who = append(who, "group "+text.Escape(name))
		}
	}
	who = append(who, "root", "the data directory's owner")
	return m.forbidden(b) + " (" + strings.Join(who, ", ") + ")"
}

// twinOf returns the command that does the same as a binding does now.
func (m *model) twinOf(b binding) string {
	if u, ok := m.screen().user(); ok && b.undo != "" && u.State == api.StateDisabled {
		return b.undo
	}
	r, ok := m.screen().(rows)
	switch {
	case !ok:
	case b.lists != "":
		if twin := r.twin(); twin != "" && (b.twin == "" || strings.Contains(twin, " --")) { // else an example says more
			return strings.TrimSuffix(twin+" "+b.lists, " -")
		}
	case b.marked && b.on&ofTokens != 0 && r.markedWhole():
		if flags, ok := r.flags(); ok {
			return "gatehouse token revoke" + flags
		}
	}
	return b.twin
}

func (b binding) has(name string) bool { return slices.Contains(b.keys, name) }

// bindings returns the keys of all screens, the most wanted first.
func bindings() []binding { return slices.Concat(rowKeys(), moveKeys(), tabKeys(), otherKeys()) }

// rowKeys are about the rows of a listing, and about what the cursor is on.
func rowKeys() []binding {
	return []binding{
		{keys: []string{"enter"}, show: "enter", short: "open", help: "open what the cursor is on", on: ofUsers, aims: true, twin: "gatehouse user show UID", do: openRow},
		{keys: []string{"enter"}, show: "enter", short: "open", help: "open what the cursor is on", on: ofTokens, aims: true, twin: "gatehouse token show ID", do: openRow},
		{keys: []string{"enter"}, show: "enter", short: "open", help: "the whole event, then what it is about", on: ofEvents, aims: true, twin: "gatehouse events --json", do: openRow},
		{keys: []string{"tab"}, show: "tab", short: "preset", help: "the next question; shift+tab the one before", on: onReview | onAccounts | onNetworks, lists: "-",
			do: func(m *model) tea.Cmd { return m.screen().(*review).another(1) }},
		{keys: []string{"/", ":"}, show: "/", short: "filter", help: "find text anywhere in uid or name as you type, or filter: state:disabled", on: ofUsers, twin: "gatehouse user list --search TEXT", lists: "-", do: filter},
		{keys: []string{"/", ":"}, show: "/", short: "filter", help: "find text anywhere in user, name or id, or filter: from:10.0.0.0/8", on: onTokens | onReview, twin: "gatehouse token list --search TEXT", lists: "-", do: filter},
		{keys: []string{"/", ":"}, show: "/", short: "filter", help: "find text anywhere in id or name, or filter: idle:90d", on: onUser, twin: "gatehouse token list --search TEXT", lists: "-", do: filter},
		{keys: []string{"/", ":"}, show: "/", short: "filter", help: "find text anywhere in actor, action, user, token or address, or filter: by:root since:24h", on: ofEvents, twin: "gatehouse events --by ACTOR --since 24h", lists: "-", do: filter},
		{keys: []string{"p"}, show: "p", short: "pause", help: "pause or continue", on: ofEvents, do: pauseKey},
		{keys: []string{"o"}, show: "o", help: "look further back for older events", on: onToken, twin: "gatehouse events --about ID",
			do: func(m *model) tea.Cmd { return m.screen().(*token).older() }},
		{keys: []string{"s"}, show: "s", short: "sort", help: "the next sort order", on: ofUsers, twin: "gatehouse user list --sort KEY", lists: "-", do: func(m *model) tea.Cmd { return m.screen().(rows).sort() }},
		{keys: []string{"s"}, show: "s", short: "sort", help: "the next sort order", on: ofTokens, twin: "gatehouse token list --sort KEY", lists: "-", do: func(m *model) tea.Cmd { return m.screen().(rows).sort() }},
		{keys: []string{"S"}, show: "S", help: "reverse the order", on: ofUsers, twin: "gatehouse user list --sort -KEY", lists: "-", do: func(m *model) tea.Cmd { return m.screen().(rows).turn() }},
		{keys: []string{"S"}, show: "S", help: "reverse the order", on: ofTokens, twin: "gatehouse token list --sort -KEY", lists: "-", do: func(m *model) tea.Cmd { return m.screen().(rows).turn() }},
		{keys: []string{"S"}, show: "S", help: "reverse the order", on: ofEvents, twin: "gatehouse events", lists: "-", do: func(m *model) tea.Cmd { return m.screen().(rows).turn() }},
		{keys: []string{"space"}, show: "space", short: "mark", help: "mark or unmark the row under the cursor", on: onLists, aims: true,
			do: func(m *model) tea.Cmd { return m.screen().(rows).toggle() }},
		{keys: []string{"a"}, show: "a", help: "mark all rows on the screen; esc unmarks", on: onLists, aims: true,
			do: func(m *model) tea.Cmd { m.screen().(rows).markShown(); return nil }},
		{keys: []string{"R"}, show: "R", short: "revoke", help: "revoke all tokens of the marked users, or of the one under the cursor", on: ofUsers, aims: true, marked: true, changes: true, twin: "gatehouse token revoke --user UID", do: revokeKey},
		{keys: []string{"R"}, show: "R", short: "revoke", help: "revoke the marked tokens, or the one under the cursor; after A, all that match", on: ofTokens | onToken, aims: true, marked: true, changes: true, twin: "gatehouse token revoke ID", do: revokeKey},
		{keys: []string{"u"}, show: "u", short: "user", help: "open the user", on: onTokens | onReview | onToken | ofEvents, aims: true, twin: "gatehouse user show UID", do: userKey},
		{keys: []string{"shift+tab"}, show: "shift+tab", help: "the question before", on: onReview | onAccounts | onNetworks, lists: "-",
			do: func(m *model) tea.Cmd { return m.screen().(*review).another(-1) }},
		{keys: []string{"l"}, show: "l", short: "lock", help: "lock the user: tokens and sessions stop; or unlock", on: ofUsers | onUser, aims: true, ofUser: true, changes: true, twin: "gatehouse user disable UID", undo: "gatehouse user enable UID", do: disableKey},
		{keys: []string{"U"}, show: "U", help: "lift the delay of the user's logins after bad passwords", on: ofUsers | onUser, aims: true, ofUser: true, changes: true, twin: "gatehouse user unlock UID", do: liftDelayKey},
		{keys: []string{"n"}, show: "n", short: "new", help: "make a local user, or a service account", on: onUsers, changes: true, twin: "gatehouse user add UID", do: newUserKey},
		{keys: []string{"A"}, show: "A", short: "mark all", help: "mark all that match the screen and the filter", on: ofUsers, aims: true, all: true, twin: "gatehouse user list FILTER…", lists: "-", do: markAllKey},
		{keys: []string{"A"}, show: "A", short: "mark all", help: "mark all that match the screen and the filter", on: ofTokens, aims: true, all: true, twin: "gatehouse token list FILTER…", lists: "-", do: markAllKey},
		{keys: []string{"P"}, show: "P", help: "make a new password for the user", on: ofUsers | onUser, aims: true, ofUser: true, changes: true, twin: "gatehouse user passwd UID", do: passwordKey},
	}
}

func moveKeys() []binding {
	move := func(n int) func(*model) tea.Cmd { return func(m *model) tea.Cmd { return m.screen().move(n) } }
	page := func(n int) func(*model) tea.Cmd { return func(m *model) tea.Cmd { return m.screen().page(n) } }
	return []binding{
		{keys: []string{"j", "down"}, show: "j ↓", help: "down", on: anywhere, moves: true, do: move(1)},
		{keys: []string{"k", "up"}, show: "k ↑", help: "up", on: anywhere, moves: true, do: move(-1)},
		{keys: []string{"pgdown", "ctrl+d", "ctrl+f"}, show: "pgdn", help: "a page down", on: anywhere, moves: true, do: page(1)},
		{keys: []string{"pgup", "ctrl+u", "ctrl+b"}, show: "pgup", help: "a page up", on: anywhere, moves: true, do: page(-1)},
		{keys: []string{"g", "home"}, show: "g", help: "to the first row", on: anywhere, moves: true, do: func(m *model) tea.Cmd { return m.screen().home() }},
		{keys: []string{"G", "end"}, show: "G", help: "to the last row", on: anywhere, moves: true, do: func(m *model) tea.Cmd { return m.screen().bottom() }},
		{keys: []string{"esc"}, show: "esc", help: "unmark; else clear the filter; else go back", on: ofUsers | onTokens | onReview | ofEvents, moves: true, do: (*model).back},
		{keys: []string{"esc"}, show: "esc", short: "back", help: "unmark; else clear the filter; else go back", on: onUser | onToken, moves: true, do: (*model).back},
	}
}

// tabKeys lead to the tabs, in the order of tabNames.
func tabKeys() []binding {
	tab := func(n int) func(*model) tea.Cmd { return func(m *model) tea.Cmd { return m.goTo(n) } }
	return []binding{
		{keys: []string{"1"}, show: "1", help: "all users", on: anywhere, twin: "gatehouse user list", tab: "users", do: tab(0)},
		{keys: []string{"2"}, show: "2", help: "all tokens, the longest unused first", on: anywhere, twin: "gatehouse token list", tab: "tokens", do: tab(1)},
		{keys: []string{"3"}, show: "3", help: "ready-made questions: unused, never used, ending soon", on: anywhere, twin: "gatehouse token list --idle 90d", tab: "review", do: tab(2)},
		{keys: []string{"4"}, show: "4", help: "the audit log, as things happen", on: anywhere, twin: "gatehouse events --follow", tab: "events", do: tab(3)},
		{keys: []string{"5"}, show: "5", help: "how the server is doing; sweeps that are held", on: anywhere, twin: "gatehouse user offboard", tab: "status", do: tab(4)},
	}
}

func otherKeys() []binding {
	return []binding{
		{keys: []string{"y"}, show: "y", short: "copy", help: "copy the id or uid to the clipboard (OSC 52)", on: onRows | onToken, aims: true, do: copyKey},
		{keys: []string{"Y"}, show: "Y", help: "show the id or uid in full, to select it", on: onRows | onToken, aims: true, do: showKey},
		{keys: []string{"e"}, show: "e", short: "export", help: "write all that match to a file, as CSV or JSON", on: ofUsers, writes: true, lists: "--csv", do: exportKey},
		{keys: []string{"e"}, show: "e", short: "export", help: "write all that match to a file, as CSV or JSON", on: ofTokens, writes: true, lists: "--csv", do: exportKey},
		{keys: []string{"e"}, show: "e", short: "export", help: "write all that match to a file, as CSV or JSON", on: ofEvents, writes: true, lists: "--json", do: exportKey},
		{keys: []string{"v"}, show: "v", help: "hide or show the pane beside the rows, from 120 columns on", on: onRows, do: paneKey},
		{keys: []string{"m"}, show: "m", help: "mouse on or off", on: anywhere, do: mouseKey},
		{keys: []string{"r"}, show: "r", short: "refresh", help: "refresh now", on: anywhere, do: func(m *model) tea.Cmd { return tea.Batch(m.askStatus(), m.screen().refresh()) }},
		{keys: []string{"p"}, show: "p", help: "pause or continue the refresh", on: anywhere &^ ofEvents, do: pauseKey},
		{keys: []string{"ctrl+p"}, show: "ctrl+p", help: "find anything that can be done here, a screen, a user or a token by name", on: anywhere, do: paletteKey},
		{keys: []string{"?"}, show: "?", short: "help", help: "all keys of this screen", on: anywhere, do: helpKey},
		{keys: []string{"q"}, show: "q", short: "quit", help: "quit; ctrl+c quits anywhere", on: anywhere, do: func(*model) tea.Cmd { return tea.Quit }},
	}
}

func openRow(m *model) tea.Cmd {
	if s := m.events(); s != nil {
		s.show()
		return nil
	}
	if s, ok := m.screen().open(); ok {
		return m.push(s)
	}
	return nil
}

// events returns the table of events on the screen, or nil.
func (m *model) events() *events {
	switch s := m.screen().(type) {
	case *events:
		return s
	case *review:
		shown, _ := s.rows.(*events)
		return shown
	}
	return nil
}

func filter(m *model) tea.Cmd {
	m.screen().(rows).edit()
	return nil
}

func markAllKey(m *model) tea.Cmd {
	cmd, refused := m.screen().(rows).markAll()
	if m.refused = refused; refused != "" {
		m.say(refused)
	} else if cmd != nil {
		m.refused = "The users are still being read."
	}
	return cmd
}

// revokeKey does not take the row under the cursor right after a refused A, which was about
// all rows.
func revokeKey(m *model) tea.Cmd {
	if m.refused != "" {
		m.say(m.refused)
		return nil
	}
	r, ok := m.screen().revokes()
	if !ok {
		return nil
	}
	return m.revoke(r)
}

// userKey opens the user that the row belongs to.
func userKey(m *model) tea.Cmd {
	uid := m.screen().holder()
	if uid == "" {
		m.say("No user belongs to this.")
		return nil
	}
	return m.push(newUserTokens(m, api.User{UID: uid}))
}

func exportKey(m *model) tea.Cmd {
	r, ok := m.screen().(rows)
	if ok {
		m.box = box.NewExport(host{m}, r.exported())
	}
	return nil
}

// pauseKey stops the refresh, or starts it again. Then what was missed comes at once.
func pauseKey(m *model) tea.Cmd {
	m.paused = !m.paused
	if m.paused {
		if s := m.events(); s != nil {
			return s.follow()
		}
		return nil
	}
	return tea.Batch(m.askStatus(), m.screen().refresh())
}

func newUserKey(m *model) tea.Cmd {
	m.box = box.NewForm(host{m}, m.status.NoPasswords)
	return nil
}

// ask opens a question about the user.
func (m *model) ask(q box.Question) { m.box = box.NewAsk(host{m}, q) }

// disableKey disables the user, or enables a user who is disabled.
func disableKey(m *model) tea.Cmd {
	u, ok := m.screen().user()
	if !ok {
		return nil
	}
	name := text.Escape(u.UID)
	if u.State == api.StateDisabled {
		m.ask(box.Question{
			Question: "Unlock " + name + "?", Verb: "unlock", Done: "Unlocked " + name + ".",
			Lines: []string{"The tokens work again, except those that are revoked or have expired."},
			Do:    func(ctx context.Context) (string, error) { return "", m.client.EnableUser(ctx, u.UID) },
		})
		return nil
	}
	m.ask(box.Question{
		Question: "Lock " + name + "?", Verb: "lock", Done: "Locked " + name + ".",
		Lines: []string{
			"All tokens and all sessions stop at once.",
			"The latest use: " + say.LastUse(m.now(), u),
			"Unlocking brings the tokens back.",
		},
		Do: func(ctx context.Context) (string, error) { return "", m.client.DisableUser(ctx, u.UID) },
	})
	return nil
}

// liftDelayKey lets the user log in again after too many bad passwords.
func liftDelayKey(m *model) tea.Cmd {
	u, ok := m.screen().user()
	if !ok {
		return nil
	}
	name := text.Escape(u.UID)
	m.ask(box.Question{
		Question: "Let " + name + " log in again?", Verb: "lift", Done: name + " may log in again.",
		Lines: []string{"Lifts the delay after too many bad passwords."},
		Do:    func(ctx context.Context) (string, error) { return "", m.client.UnlockUser(ctx, u.UID) },
	})
	return nil
}

func passwordKey(m *model) tea.Cmd {
	u, ok := m.screen().user()
	if !ok {
		return nil
	}
	name := text.Escape(u.UID)
	if u.Source != "" && u.Source != "local" { // not yet known: the server says so
		m.say(name + " has no password here: the source is " + text.Escape(u.Source) + ".")
		return nil
	}
	lines := []string{"The old password and all sessions end at once.", "Tokens go on working."}
	if u.State == api.StateDisabled || u.State == api.StateSuspended {
		lines = append(lines, "The password works only once the user is active.")
	}
	if m.status.NoPasswords {
		lines = append(lines, box.NoPasswords)
	}
	m.ask(box.Question{
		UID: u.UID, Question: "Make a new password for " + name + "?", Verb: "make", Done: "The password of " + name + " is changed.",
		Lines: lines,
		Do: func(ctx context.Context) (string, error) {
			p, err := m.client.SetPassword(ctx, u.UID, "")
			return p.Password, err
		},
	})
	return nil
}

func copyKey(m *model) tea.Cmd {
	s, ok := m.screen().name()
	if !ok {
		return nil
	}
	m.say(text.Escape(s) + " sent to the clipboard (Y shows it)")
	return m.copy(s)
}

func showKey(m *model) tea.Cmd {
	s, ok := m.screen().name()
	if !ok {
		return nil
	}
	m.box = box.NewText(host{m}, "To select and copy:", "", s)
	return nil
}

func helpKey(m *model) tea.Cmd {
	var lines []string
	for _, b := range m.keys {
		if b.on&m.screen().place() == 0 {
			continue
		}
		lines = append(lines, text.Left(b.show, 10)+b.help)
		if !m.may(b) {
			lines = append(lines, "          "+m.refusal(b))
			continue
		}
		if twin := m.twinOf(b); twin != "" {
			lines = append(lines, "          = "+text.Escape(twin))
		}
	}
	m.box = box.NewText(host{m}, "Keys of this screen, and the commands that do the same", lines...)
	return nil
}
