// Package plain is the terminal UI without a screen, for screen readers, serial lines and
// logs. It prompts, reads one line, prints lines, and never draws anything twice.
//
// It owns the words that can be typed and the form of the answers. It never decides what an
// action does, what must be confirmed, or who may do it: the screens and boxes of the UI do
// that. A Machine stands for them, and every word here presses a key there.
package plain

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// Machine is the UI: screens with numbered rows, keys, and questions.
type Machine interface {
	Name() string         // of the screen, for the prompt
	Lines() []string      // the screen: what it is about, and its rows with their numbers
	Tab(n int)            // goes to a screen, from 0
	Presets() []string    // the names of Review's presets
	Preset(s string) bool // goes to one; false: no preset has that name
	Filter(words string)
	Below()                          // goes back from a token that is shown to the rows it was listed in
	Row(n int) bool                  // puts the cursor on the row that Lines gave this number; false: it is gone, or there was none
	Marks() int                      // how many rows are marked
	Refused() bool                   // A was refused, or has no answer yet
	All() bool                       // all that match are marked, as one set
	Marked(n int) bool               // whether a numbered row is marked
	Does(key string) (aims, ok bool) // whether the key does something here, and whether it acts on the row under the cursor
	Press(key string)
	State() (string, bool)                 // of the user under the cursor
	Question() (lines []string, kind Kind) // what is asked now
	Answer(line string)                    // to a question that takes text
	Fill(values ...string)                 // the fields of a form, and sends it
	Said() string                          // what happened since the last call; empty: nothing to tell
}

// Kind is how a question is answered.
type Kind int

// The kinds of questions.
const (
	None    Kind = iota
	YesOrNo      // y; anything else means no
	Text         // the line is typed, then enter
	Shown        // it only tells something
)

// action is a word that does what a key does.
type action struct{ word, key, help string }

var actions = []action{
	{"revoke", "R", "revoke N, or the marked ones; revoke all: all that match the filter"},
	{"lock", "l", "lock N: tokens and sessions of the user stop"},
	{"unlock", "l", "unlock N: they work again"},
	{"user", "u", "user N: the user that it belongs to"},
	{"lift", "U", "lift N: lift the delay of a user's logins"},
	{"password", "P", "password N: make a new password for a user"},
	{"sort", "s", "the next order"},
	{"reverse", "S", "the order reversed"},
	{"refresh", "r", "ask again"},
	{"older", "o", "look further back for older events of a token"},
	{"id", "Y", "id N: the id or uid in full"},
	{"back", "esc", "unmark; else clear the filter; else go back"},
}

var tabs = []string{"users", "tokens", "review", "events", "status"}

const help = `users, tokens, review, events, status   go there; a filter may follow: tokens idle:90d from:10.0.0.0/8
review NAME                             a preset: %s
filter WORDS                            narrow what is listed; without words: all again
list                                    the rows again; more, less: the next ones, those before
show N                                  all of row N
mark N, mark 2-5, mark all, unmark      rows for revoke; all: all that match the filter
new UID NAME                            a local user
new service NAME OWNER SUCCESSOR        a service account, with or without a successor
export FILE                             all that match, to a file that ends in .csv or .json`

// console is one run.
type console struct {
	m   Machine
	in  *bufio.Reader
	out io.Writer
	ctx context.Context
}

// Run reads lines and does what they say, until quit, the end of the input or of ctx.
func Run(ctx context.Context, in io.Reader, out io.Writer, m Machine) error {
	c := &console{m: m, in: bufio.NewReader(in), out: out, ctx: ctx}
	c.say("Gatehouse administration. Type help for the words, quit to leave.")
	c.list()
	for {
		line, ok := c.ask(m.Name() + "> ")
		if !ok || line == "quit" || line == "q" || line == "exit" {
			return nil
		}
		c.do(line)
		for c.question() {
		}
		if s := m.Said(); s != "" {
			c.say(s)
		}
	}
}

// ask prompts, and reads a line.
func (c *console) ask(prompt string) (string, bool) {
	fmt.Fprint(c.out, prompt)
	type read struct {
		line string
		err  error
	}
	came := make(chan read, 1)
	go func() {
		s, err := c.in.ReadString('\n')
		came <- read{s, err}
	}()
	select {
	case r := <-came:
		if r.err != nil && r.line == "" {
			fmt.Fprintln(c.out)
			return "", false
		}
		return strings.TrimSpace(r.line), true
	case <-c.ctx.Done():
		fmt.Fprintln(c.out)
		return "", false
	}
}

func (c *console) say(lines ...string) {
	for _, l := range lines {
		if l != "" {
			fmt.Fprintln(c.out, l)
		}
	}
}

func (c *console) list() { c.say(c.m.Lines()...) }

func (c *console) do(line string) {
	word, rest, _ := strings.Cut(line, " ")
	word, rest = strings.ToLower(word), strings.TrimSpace(rest)
	if _, err := strconv.Atoi(word); err == nil {
		word, rest = "show", word
	}
	switch tab := slices.Index(tabs, word); {
	case word == "":
	case word == "review" && rest != "":
		if !c.m.Preset(rest) {
			c.say("There is no such preset. Presets: " + strings.Join(c.m.Presets(), ", ") + ".")
			return
		}
		c.list()
	case tab >= 0:
		c.m.Tab(tab)
		if rest != "" {
			c.m.Filter(rest)
		}
		c.list()
	case word == "help" || word == "?":
		c.help()
	case word == "list":
		c.list()
	case word == "more" || word == "less":
		before := c.m.Lines()
		c.m.Press(map[string]string{"more": "pgdown", "less": "pgup"}[word])
		if after := c.m.Lines(); !slices.Equal(before, after) {
			c.say(after...)
		} else {
			c.say(map[string]string{"more": "There are no more.", "less": "There are none before."}[word])
		}
	case word == "filter":
		c.m.Filter(rest)
		c.list()
	case word == "show":
		if c.m.Below(); c.row(word, rest) {
			c.m.Press("enter")
			if _, kind := c.m.Question(); kind == None {
				c.list()
			}
		}
	case word == "mark":
		c.m.Below()
		c.mark(rest)
	case word == "unmark":
		for c.m.Marks() > 0 {
			c.m.Press("esc")
		}
		c.say("Nothing is marked.")
	case word == "new" || word == "export":
		c.form(word, rest)
	default:
		c.act(word, rest)
	}
}

// act presses a key for the row with that number, or for the marked rows.
func (c *console) act(word, rest string) {
	n := slices.IndexFunc(actions, func(a action) bool { return a.word == word })
	if n < 0 {
		c.say("There is no word " + strconv.QuoteToGraphic(word) + ". Type help for the words.")
		return
	}
	a := actions[n]
	if rest != "" && rest != "all" { // a number is that of a row; all is what is seen
		c.m.Below()
	}
	if a.key == "R" && rest == "all" {
		if rest = ""; !c.markAll() {
			return
		}
	}
	aims, ok := c.m.Does(a.key)
	switch {
	case !ok:
		c.say("There is no " + word + " here.")
		return
	case rest != "" && a.key == "R" && c.m.Marks() > 0:
		c.say(fmt.Sprintf("%d rows are marked, and revoke is about those: unmark first.", c.m.Marks()))
		return
	case aims && rest == "" && (a.key != "R" || c.m.Marks() == 0):
		c.say("Say which one, by its number: " + word + " 1")
		return
	case rest != "" && !c.row(word, rest):
		return
	}
	if state, ok := c.m.State(); ok && a.key == "l" && (state == "disabled") == (word == "lock") {
		c.say("The user is " + state + ".")
		return
	}
	c.m.Press(a.key)
	if _, kind := c.m.Question(); kind == None && slices.Contains([]string{"s", "S", "r", "o", "u", "esc"}, a.key) {
		c.list()
	}
}

// row goes to a numbered row.
func (c *console) row(word, number string) bool {
	n, err := strconv.Atoi(number)
	if err != nil || !c.m.Row(n) {
		c.say("There is no row " + strconv.QuoteToGraphic(number) + ", or no longer. Type list for the rows and their numbers, then, for example, " + word + " 1.")
		return false
	}
	return true
}

// markAll marks all that match; false: it said why not.
func (c *console) markAll() bool {
	if _, ok := c.m.Does("A"); !ok {
		c.say("There is nothing to mark here.")
		return false
	}
	c.m.Press("A")
	return c.m.Marks() > 0 && !c.m.Refused()
}

// mark marks rows: 3, 2-5, or several of these, or all that match.
func (c *console) mark(rest string) {
	if rest == "all" {
		if c.markAll() {
			c.say(fmt.Sprintf("%d marked: all that match.", c.m.Marks()))
		}
		return
	}
	if c.m.All() {
		c.say(fmt.Sprintf("All %d that match are marked: unmark first, to mark only some.", c.m.Marks()))
		return
	}
	for _, part := range strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == ' ' }) {
		first, last, isRange := strings.Cut(part, "-")
		from, err1 := strconv.Atoi(first)
		to, err2 := from, error(nil)
		if isRange {
			to, err2 = strconv.Atoi(last)
		}
		if err1 != nil || err2 != nil || to < from {
			c.say(strconv.QuoteToGraphic(part) + " is no number of a row. Write mark 3, or mark 2-5.")
			return
		}
		for n := from; n <= to; n++ {
			if !c.row("mark", strconv.Itoa(n)) {
				return
			}
			if !c.m.Marked(n) {
				c.m.Press("space")
			}
		}
	}
	c.say(fmt.Sprintf("%d marked.", c.m.Marks()))
}

// form fills in what a box asks for.
func (c *console) form(word, rest string) {
	key := map[string]string{"new": "n", "export": "e"}[word]
	if _, ok := c.m.Does(key); !ok {
		c.say("There is no " + word + " here.")
		return
	}
	if rest == "" {
		c.say(map[string]string{"new": "Write new UID NAME.", "export": "Write export FILE, with a name that ends in .csv or .json."}[word])
		return
	}
	c.m.Press(key)
	if _, kind := c.m.Question(); kind == None {
		return // it said why
	}
	if word == "export" {
		c.m.Fill(rest)
		return
	}
	uid, name, _ := strings.Cut(rest, " ")
	if words := strings.Fields(name); uid == "service" {
		c.m.Press("right")
		c.m.Fill(words[:min(len(words), 3)]...)
		return
	}
	c.m.Press("left")
	c.m.Fill(uid, strings.TrimSpace(name))
}

// question asks the open question, if there is one, and passes the answer on. It reports
// whether there was one.
func (c *console) question() bool {
	lines, kind := c.m.Question()
	if kind == None {
		return false
	}
	c.say(lines...)
	if kind == Shown {
		c.m.Press("esc")
		return true
	}
	line, ok := c.ask("answer> ")
	switch {
	case !ok:
		c.m.Press("esc")
	case kind == Text:
		c.m.Answer(line)
	case line == "y":
		c.m.Press("y")
	default:
		c.m.Press("esc")
	}
	return true
}

func (c *console) help() {
	for _, l := range strings.Split(fmt.Sprintf(help, strings.Join(c.m.Presets(), ", ")), "\n") {
		word, _, _ := strings.Cut(l, " ")
		if key := map[string]string{"new": "n", "export": "e"}[word]; key != "" {
			if _, ok := c.m.Does(key); !ok {
				continue
			}
		}
		c.say(l)
	}
	for _, a := range actions {
		if _, ok := c.m.Does(a.key); ok {
			fmt.Fprintf(c.out, "%-40s%s\n", a.word, a.help)
		}
	}
	fmt.Fprintf(c.out, "%-40s%s\n", "quit", "leave")
}

var (
	drawing = regexp.MustCompile(`\[[#.]+\] ?|[▁▂▃▄▅▆▇█.]*[▁▂▃▄▅▆▇█][▁▂▃▄▅▆▇█.]*|\.{4,}`)
	blanks  = regexp.MustCompile(` {2,}`)
)

// Spoken returns a line of a screen as it is read aloud: without colours, pictures and
// columns.
func Spoken(line string) string {
	line = strings.TrimSpace(drawing.ReplaceAllString(ansi.Strip(line), ""))
	if rest, ok := strings.CutPrefix(line, "> ["); ok { // what is chosen at the start
		if _, yes, ok := strings.Cut(rest, "]"); ok {
			line = "Type y to " + strings.TrimPrefix(strings.TrimSpace(yes), "y ") + ". Anything else does not."
		}
	}
	line = strings.Replace(line, "_    esc cancels", "anything else cancels", 1)
	return blanks.ReplaceAllString(line, "  ")
}
