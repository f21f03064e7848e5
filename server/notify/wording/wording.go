// Package wording says what happened in words: the JSON of a notice for programs, and the
// mail for people. An administrator may write the mails: each is a file of plain text, a
// template (text/template), whose first line is the subject.
//
// The package never sends anything. What strangers wrote, such as the name of a token, is
// made visible: it can't add a header or a line to a mail.
package wording

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"

	"gatehouse/server/textfile"
)

// The types of events.
const (
	TokenEnds    = "token.ends"    // a token ends soon
	TokenNetwork = "token.network" // a token was used in a network where it was never used before
	TokenFound   = "token.found"   // a token was found by scan --revoke
	SweepHeld    = "sweep.held"    // a sweep waits for an administrator
	BackupLate   = "backup.late"   // the last backup is too old
	Test         = "test"          // gatehouse notify test
)

// Mailed are the types that users get mail about.
var Mailed = []string{TokenEnds, TokenNetwork, TokenFound, Test}

// Event is a notice as programs get it. Times are in ms since 1970. A field that does not
// apply is left out.
type Event struct {
	ID    string `json:"id"` // the same however often the event is sent
	Type  string `json:"type"`
	Time  int64  `json:"time"`
	UID   string `json:"uid,omitempty"`   // whose token it is
	Owner string `json:"owner,omitempty"` // who gets mail: the same user, or the owner of the service account

	Token  string `json:"token,omitempty"` // its id, which is no secret
	Name   string `json:"name,omitempty"`  // of the token
	End    int64  `json:"end,omitempty"`
	Before string `json:"before,omitempty"` // the step of before_expiry, such as "7d"

	Network string `json:"network,omitempty"` // such as "203.0.113.0/24"
	Address string `json:"address,omitempty"`
	Agent   string `json:"agent,omitempty"` // what the client calls itself
	Where   string `json:"where,omitempty"` // the place where a token was found

	Source string `json:"source,omitempty"` // whose sweep is held
	Count  int    `json:"count,omitempty"`  // how many changes the sweep holds
	Why    string `json:"why,omitempty"`

	LastBackup int64 `json:"lastBackup,omitempty"`
}

// Mail is a mail without its headers.
type Mail struct{ Subject, Text string }

//go:embed default
var defaults embed.FS

// Words are the templates of the mails.
type Words struct {
	mails map[string]*template.Template // by type
	url   string
}

// ErrUnknown means that a file in the directory of the templates is of no event.
var ErrUnknown = errors.New("there is no mail of this name")

// Load reads the templates in a directory, each in a file TYPE.txt; dir may be empty. For
// a type without a file it takes the default. url is where users find their tokens; it may
// be empty. Load tries each template.
func Load(dir, url string) (*Words, error) {
	w := &Words{mails: map[string]*template.Template{}, url: url}
	for _, one := range Mailed {
		b, err := defaults.ReadFile("default/" + one + ".txt")
		if err != nil {
			return nil, err
		}
		if w.mails[one], err = parse(one, b); err != nil {
			return nil, err
		}
	}
	if dir == "" {
		return w, nil
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		name, isText := strings.CutSuffix(e.Name(), ".txt")
		if !isText {
			continue
		}
		file := filepath.Join(dir, e.Name())
		if !slices.Contains(Mailed, name) {
			return nil, fmt.Errorf("%s: %w: write %s.txt", file, ErrUnknown, strings.Join(Mailed, ".txt, "))
		}
		b, err := textfile.Read(file)
		if err != nil {
			return nil, err
		}
		if w.mails[name], err = parse(name, b); err == nil {
			_, err = w.Mail(sample(name))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return w, nil
}

func parse(name string, text []byte) (*template.Template, error) {
	return template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"date": date}).Parse(string(text))
}

// date writes a time in ms.
func date(ms int64) string { return time.UnixMilli(ms).UTC().Format("2 January 2006, 15:04 UTC") }

// sample is an event that a template is tried with.
func sample(name string) Event {
	return Event{
		ID: strings.Repeat("0", 32), Type: name, Time: 1, UID: "ada@example.com", Owner: "ada@example.com",
		Token: strings.Repeat("0", 28), Name: "nightly", End: 1, Before: "7d", Network: "203.0.113.0/24", Address: "203.0.113.9", Where: "file:1",
	}
}

// shown is an event as templates see it.
type shown struct {
	Event
	Label string // names the token
	URL   string
}

// Mail writes the mail about an event.
func (w *Words) Mail(e Event) (m Mail, err error) {
	t := w.mails[e.Type]
	if t == nil {
		return m, fmt.Errorf("%w: %s", fs.ErrNotExist, e.Type)
	}
	for _, s := range []*string{&e.UID, &e.Owner, &e.Name, &e.Address, &e.Agent, &e.Where} {
		*s = visible(*s)
	}
	v := shown{Event: e, Label: e.Name, URL: w.url}
	if v.Label == "" && e.Token != "" {
		v.Label = e.Token[:min(8, len(e.Token))]
	}
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return m, err
	}
	first, text, _ := strings.Cut(b.String(), "\n")
	subject, ok := strings.CutPrefix(first, "Subject: ")
	if subject = strings.TrimSpace(visible(strings.TrimSpace(subject))); !ok || subject == "" {
		return m, errors.New(`the first line must be "Subject: " and the subject`)
	}
	return Mail{subject, strings.TrimLeft(text, "\n")}, nil
}

// visible replaces characters that are not drawn.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
