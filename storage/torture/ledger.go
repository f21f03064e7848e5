package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// ledger records what the child has said.
type ledger struct {
	Users    map[string]*account // by uid
	Tokens   map[string]*holding // by id
	Open     map[string]change   // by writer: begun, and not reported as done
	Sequence uint64              // the audit log has been compared up to here
	Uses     map[string][]use    // by id, since the store was last compared
	Killed   int64               // ms: when the child was killed; 0: it ended by itself
	Lost     int64               // ms: the age of the oldest use that a kill has lost

	Acked   int            // changes
	Rebuilt int            // openings that built the index again
	Fresh   map[string]int // acknowledged changes since Sequence, by event and its object
}

type account struct {
	ID       string
	Disabled bool
}

type holding struct {
	UID     string
	Secret  string
	Revoked bool
}

// use is when a token was used, in ms: by the real clock, and by the store's.
type use struct{ At, Stored int64 }

// change is a change that a writer has begun: the action, its user or token,
// and the name of a new token.
type change struct{ Verb, Of, Name string }

func newLedger() *ledger {
	return &ledger{Users: map[string]*account{}, Tokens: map[string]*holding{}, Open: map[string]change{}, Uses: map[string][]use{}, Fresh: map[string]int{}}
}

// read reads a child's output to its end, and calls began at each acknowledged
// change.
func (l *ledger) read(r io.Reader, began func()) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "?" && f[0] != "!" || f[0] == "?" && len(f) < 4 {
			return fmt.Errorf("the child says %q", lines.Text())
		}
		if f[0] == "?" {
			l.Open[f[1]] = change{Verb: f[2], Of: f[3], Name: strings.Join(f[4:], "")}
			continue
		}
		c, ok := l.Open[f[1]]
		if !ok {
			return fmt.Errorf("the child is done with what it had not begun: %q", lines.Text())
		}
		delete(l.Open, f[1])
		if err := l.done(c, f[2:]); err != nil {
			return err
		}
		began()
	}
	return lines.Err()
}

// done enters an acknowledged change.
func (l *ledger) done(c change, result []string) error {
	l.Acked++
	switch c.Verb {
	case "add":
		l.Users[c.Of] = &account{ID: result[0]}
		l.Fresh["user.add "+c.Of]++
	case "create":
		l.Tokens[result[0]] = &holding{UID: c.Of, Secret: result[1]}
		l.Fresh["token.create "+result[0]]++
	case "revoke":
		l.Tokens[c.Of].Revoked = true
		l.Fresh["token.revoke "+c.Of]++
	case "use":
		var u use
		if _, err := fmt.Sscan(strings.Join(result, " "), &u.At, &u.Stored); err != nil {
			return err
		}
		l.Uses[c.Of] = append(l.Uses[c.Of], u)
	case "disable", "enable":
		l.Users[c.Of].Disabled = c.Verb == "disable"
		l.Fresh["user."+c.Verb+" "+c.Of]++
	default:
		return fmt.Errorf("an unknown change: %q", c.Verb)
	}
	return nil
}

func (l *ledger) save(file string) error {
	b, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return os.WriteFile(file, b, 0o600)
}

func loadLedger(file string) (*ledger, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	l := newLedger()
	return l, json.Unmarshal(b, l)
}
