package cli

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"gatehouse/server/manual"
	"gatehouse/tui/text"
)

// ManualCommand prints a chapter of the manual, in Markdown, or a file that goes with it,
// or lists the chapters. With --man it writes the manual pages of all commands.
func ManualCommand(out io.Writer) *cobra.Command {
	var man string
	c := &cobra.Command{
		Use: "manual [TOPIC]", Short: "Print a chapter of the manual, or list the chapters",
		Example: "  gatehouse manual ldap",
		Args:    AtMostOne("TOPIC"), ValidArgs: append(manual.Topics(), manual.Attachments()...),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case man != "" && len(args) > 0:
				return Usagef("--man takes no TOPIC")
			case man != "":
				return manPages(c.Root(), man)
			case len(args) == 0:
				return listTopics(out)
			}
			if file, ok := manual.Attachment(args[0]); ok {
				_, err := out.Write(file)
				return err
			}
			chapter, ok := manual.Chapter(strings.ToLower(args[0]))
			if !ok {
				return Usagef("the manual has no chapter %q; its chapters are %s", args[0], strings.Join(manual.Topics(), ", "))
			}
			_, err := io.WriteString(out, chapter)
			return err
		},
	}
	c.Flags().StringVar(&man, "man", "", "write the manual pages of all commands, in roff, to this directory")
	return c
}

func listTopics(out io.Writer) error {
	t := text.NewTable(out, "TOPIC", "CHAPTER")
	for _, topic := range manual.Topics() {
		t.Row(topic, manual.Title(topic))
	}
	return t.Flush()
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
