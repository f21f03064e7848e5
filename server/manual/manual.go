// Package manual is the manual: its chapters, as Markdown, and the pictures they show.
// The repository shows the files as they are, `gatehouse manual` prints them, and the
// server turns them into pages.
//
// It never sees a command, a request or a store. The tests beside the code that the
// manual describes check that it tells the truth.
package manual

import (
	"embed"
	"strings"
)

//go:embed *.md *.png
var files embed.FS

// Topics names the chapters in the order in which they are listed.
func Topics() []string {
	return []string{
		"start", "api", "web", "terminal", "commands", "configuration", "operate", "backup",
		"ldap", "oauth", "gateway", "security", "troubleshooting", "sizing", "reference", "changes", "contributing",
	}
}

// Chapter returns the text of the chapter in Markdown, and false if there is none with
// this topic.
func Chapter(topic string) (text string, ok bool) {
	b, err := files.ReadFile(topic + ".md")
	return string(b), err == nil
}

// Title returns the heading of the chapter.
func Title(topic string) string {
	text, _ := Chapter(topic)
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimPrefix(first, "# ")
}
