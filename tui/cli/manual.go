package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// chapter is what stands under one heading of the manual.
type chapter struct{ topic, text string }

// ManualCommand prints the manual, which is in Markdown, or one chapter of it. With
// --man it writes the manual pages of all commands.
func ManualCommand(manual string, out io.Writer) *cobra.Command {
	chapters := chaptersOf(manual)
	var topics []string
	for _, ch := range chapters {
		topics = append(topics, ch.topic)
	}
	var man string
	c := &cobra.Command{
		Use: "manual [TOPIC]", Short: "Print the manual, or a chapter of it",
		Long:    "Print the manual, or a chapter of it.\n\nThe topics:\n\n  " + strings.Join(topics, "\n  "),
		Example: "  gatehouse manual ldap",
		Args:    cobra.MaximumNArgs(1), ValidArgs: topics,
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case man != "" && len(args) > 0:
				return Usagef("--man takes no TOPIC")
			case man != "":
				return manPages(c.Root(), man)
			case len(args) == 0:
				_, err := io.WriteString(out, manual)
				return err
			}
			i := slices.IndexFunc(chapters, func(ch chapter) bool { return ch.topic == slug(args[0]) })
			if i < 0 {
				return Usagef("the manual has no chapter %q; its chapters are %s", args[0], strings.Join(topics, ", "))
			}
			_, err := io.WriteString(out, chapters[i].text)
			return err
		},
	}
	c.Flags().StringVar(&man, "man", "", "write the manual pages of all commands, in roff, to this directory")
	return c
}

// manPages writes a page for each command to a directory, which it makes. The date on
// them is that of SOURCE_DATE_EPOCH, if it is set.
func manPages(root *cobra.Command, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root.DisableAutoGenTag = true // it would name the library and the day
	err := doc.GenManTree(root, &doc.GenManHeader{Section: "1", Source: "Gatehouse", Manual: "Gatehouse"}, dir)
	if err != nil {
		return fmt.Errorf("write the manual pages: %w", err)
	}
	return nil
}

// chaptersOf cuts a document at its headings of the second level.
func chaptersOf(manual string) (list []chapter) {
	fenced := false
	for line := range strings.Lines(manual) {
		if strings.HasPrefix(line, "```") {
			fenced = !fenced
		}
		if title, ok := strings.CutPrefix(line, "## "); ok && !fenced {
			title = strings.TrimSpace(title)
			list = append(list, chapter{topic: slug(title)})
		}
		if n := len(list); n > 0 {
			list[n-1].text += line
		}
	}
	return list
}

// slug is a title as links name it.
func slug(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '-':
			return r
		case r == ' ':
			return '-'
		}
		return -1
	}, strings.ToLower(title))
}
