// Package manual is the manual: its chapters, as Markdown, the pictures they show, and
// the files to copy that go with them. The repository shows the files as they are,
// `gatehouse manual` prints them, and the server turns the chapters into pages.
//
// It never sees a command, a request or a store. The tests beside the code that the
// manual describes check that it tells the truth.
package manual

import (
	"embed"
	"slices"
	"strings"
)

//go:embed *.md *.png alerts.yml dashboard.json
var files embed.FS

// Topics names the chapters in the order in which they are listed.
func Topics() []string {
	return []string{
		"start", "api", "web", "terminal", "commands", "configuration", "operate", "backup",
		"ldap", "oauth", "gateway", "notices", "security", "troubleshooting", "sizing", "reference", "changes", "contributing",
	}
}

// Chapter returns the text of the chapter in Markdown, and false if there is none with
// this topic.
func Chapter(topic string) (text string, ok bool) {
	b, err := files.ReadFile(topic + ".md")
	return string(b), err == nil
}

// Attachments names the files to copy: what Prometheus and Grafana need to watch a server.
func Attachments() []string { return []string{"alerts.yml", "dashboard.json"} }

// Attachment returns a file to copy, and false if there is none of this name.
func Attachment(name string) (text []byte, ok bool) {
	if !slices.Contains(Attachments(), name) {
		return nil, false
	}
	text, err := files.ReadFile(name)
	return text, err == nil
}

// Title returns the heading of the chapter.
func Title(topic string) string {
	text, _ := Chapter(topic)
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(first, "# ")
}
