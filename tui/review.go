package tui

import (
	"fmt"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// review is the screen of ready-made questions, about tokens, users, or tokens in new
// networks. It has a table of each kind, and shows the one that the question is about.
type review struct {
	rows
	preset   int
	tokens   *tokens
	users    *users
	networks *events
}

var _ rows = (*review)(nil)

// preset is a question of the Review screen. The command twin has the filters as flags;
// empty: no command lists the same.
type preset struct {
	filters    []string
	tab, words string              // its name, and the question in words
	users      bool                // it is about users
	only       func(api.User) bool // of the users that the filters select; nil: all
	networks   bool                // it is about tokens in new networks
	twin       string
}

var presets = [...]preset{
	{filters: []string{"idle", "30d"}, tab: "30d", words: "unused for 30 days", twin: "token list --idle 30d"},
	{filters: []string{"idle", "90d"}, tab: "90d", words: "unused for 90 days", twin: "token list --idle 90d"},
	{filters: []string{"idle", "180d"}, tab: "180d", words: "unused for 180 days", twin: "token list --idle 180d"},
	{filters: []string{"idle", "365d"}, tab: "1y", words: "unused for a year", twin: "token list --idle 1y"},
	{filters: []string{"never-used", "true"}, tab: "never", words: "without any use", twin: "token list --never-used"},
	{filters: []string{"expires-within", "7d"}, tab: "ends 7d", words: "that end within 7 days", twin: "token list --expires-within 7d"},
	{filters: []string{"expires-within", "30d"}, tab: "ends 30d", words: "that end within 30 days", twin: "token list --expires-within 30d"},
	{filters: []string{"unlimited", "true", "idle", "30d"}, tab: "unlimited", words: "without any limit and unused for 30 days", twin: "token list --unlimited --idle 30d"},
	{filters: []string{"state", api.StateUnverified}, tab: "unverified", words: "users about whom a provider can't be asked", users: true, twin: "user list --state unverified"},
	{filters: []string{"source", "service"}, tab: "orphaned", words: "service accounts that nobody owns", users: true, only: func(u api.User) bool { return u.Orphaned }},
	{filters: []string{"locked", "true"}, tab: "locked", words: "users who are locked out of logging in", users: true, twin: "user list --locked"},
	{tab: "networks", words: "used in a network for the first time", networks: true, twin: "events --action token.network"},
}

// question names the preset in the palette.
func (p preset) question() string {
	if p.users {
		return p.words
	}
	return "tokens " + p.words
}

func newReview(m *model) *review {
	s := &review{preset: 1, tokens: &tokens{}, users: &users{}, networks: newEvents(m, api.Where("action", "token.network"))}
	s.tokens.init(m, s.filters, func() string { return presets[s.preset].words })
	s.users.init(m, s.filters)
	s.rows = s.tokens
	s.tokens.empty = func(words string) string {
		p := presets[s.preset]
		return absence("No token "+p.words+".", s.tokens.none("None of the tokens "+p.words+" matches"))(words)
	}
	s.users.empty = func(words string) string {
		p := presets[s.preset]
		return absence("No "+p.words+".", s.users.none("None of the "+p.words+" matches"))(words)
	}
	s.networks.empty = func(words string) string {
		return absence("No token was used in a network that was new for it.", s.networks.none("No first use in a network matches"))(words)
	}
	return s
}

func (s *review) filters() api.Filters { return api.Where(presets[s.preset].filters...) }

func (s *review) place() place {
	switch p := presets[s.preset]; {
	case p.users:
		return onAccounts
	case p.networks:
		return onNetworks
	}
	return onReview
}

// title lists the presets or, if there is no room, names only the current one.
func (s *review) title(width int) string {
	out := "Review"
	for i, p := range presets {
		if i == s.preset {
			out += " [" + p.tab + "]"
		} else {
			out += "  " + p.tab + " "
		}
	}
	if len(out) > width {
		return fmt.Sprintf("Review [%s]   %d of %d, tab: the next", presets[s.preset].tab, s.preset+1, len(presets))
	}
	return out
}

func (s *review) answer(msg tea.Msg) tea.Cmd {
	return tea.Batch(s.tokens.answer(msg), s.users.answer(msg), s.networks.answer(msg))
}

// show goes to a preset, and removes the marks.
func (s *review) show(n int) tea.Cmd {
	s.unmark()
	s.stop()
	s.preset, s.tokens.m.notice = n, ""
	p := presets[n]
	s.users.only = p.only
	s.users.question++
	switch {
	case p.users:
		s.rows = s.users
		return s.users.ask()
	case p.networks:
		s.rows = s.networks
		return s.networks.ask()
	}
	s.rows = s.tokens
	return s.tokens.ask()
}

// twin is empty where no command lists what only this screen picks out.
func (s *review) twin() string {
	if presets[s.preset].only != nil {
		return ""
	}
	return s.rows.twin()
}

// another goes on to another preset.
func (s *review) another(by int) tea.Cmd {
	return s.show((s.preset + by + len(presets)) % len(presets))
}
