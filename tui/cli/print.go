package cli

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/text"
)

// form is how a listing is printed; the zero value as a table.
type form struct{ json, csv bool }

// flags adds --json and --csv to a command.
func (f *form) flags(c *cobra.Command) {
	jsonFlag(c, &f.json, "print one object a line")
	c.Flags().BoolVar(&f.csv, "csv", false, "print comma-separated values, with a header")
	Twins(c, "csv")
}

func (f *form) check(c *cobra.Command, _ []string) error {
	switch json, csv := onLine(c, "json"), onLine(c, "csv"); {
	case !f.json || !f.csv:
	case json == csv:
		return Usagef("--json and --csv can't be combined")
	default: // a flag wins over the environment
		f.json, f.csv = json, csv
	}
	return nil
}

// list prints a listing. If it is a table with any rows, before is printed ahead of it.
func list[T, L any](env Env, rows iter.Seq2[T, error], f form, line func(T) L, cells func(T) []string, before string, heads ...string) error {
	switch {
	case f.json:
		return export.JSON(env.Out, rows, line)
	case f.csv:
		return export.CSV(env.Out, rows, line)
	}
	return env.table(rowsOf(rows, cells), before, heads...)
}

func (env Env) tokens(rows iter.Seq2[api.Token, error], f form, before string) error {
	return list(env, rows, f, export.TokenLine, tokenCells, before, tokenHeads()...)
}

func tokenHeads() []string {
	return []string{"ID", "USER", "NAME", "CREATED", "LAST USED", "FROM", "EXPIRES", "STATE"}
}

func userCells(u api.User) []string {
	return []string{u.UID, dash(u.Name), u.Source, u.State, moment(u.Created), strconv.Itoa(u.Tokens), lastUse(u)}
}

// lastUse is when the latest of a user's tokens was used.
func lastUse(u api.User) string {
	if u.LastUsed == 0 && u.Tokens > 0 {
		return "never"
	}
	return moment(u.LastUsed)
}

func tokenCells(t api.Token) []string {
	used := "never"
	if t.Used() {
		used = moment(t.LastUsed)
	}
	return []string{t.ID, t.UID, dash(t.Name), moment(t.Created), used, dash(t.LastAddress), expiry(t.ExpiresOn), t.State}
}

// table prints before, the heads and the rows. If there are no rows, it says so
// on standard error instead.
func (env Env) table(rows iter.Seq2[[]string, error], before string, heads ...string) error {
	var t *text.Table
	for cells, err := range rows {
		if err != nil {
			if t != nil {
				t.Flush() // show what came; the error says that it is incomplete
			}
			return err
		}
		if t == nil {
			fmt.Fprint(env.Out, before)
			t = text.NewTable(env.Out, heads...)
		}
		if err := t.Row(cells...); err != nil {
			return err
		}
	}
	if t == nil {
		env.say("Nothing found.")
		return nil
	}
	return t.Flush()
}

// facts prints what is known of a user, one fact a line.
func (env Env) facts(u api.UserDetail) error {
	t := text.NewTable(env.Out, "uid", u.UID)
	t.Row("name", dash(u.Name))
	t.Row("source", u.Source)
	for _, id := range u.Identities {
		t.Row("identity", id.Source+" "+id.Subject)
	}
	if s := u.Service; s != nil {
		t.Row("owner", ownerOf(*s))
		t.Row("successor", dash(s.Successor))
	}
	t.Row("state", u.State)
	t.Row("created", moment(u.Created))
	t.Row("tokens", strconv.Itoa(u.Tokens))
	t.Row("last used", lastUse(u.User))
	if d := u.LoginDelay; d != nil {
		t.Row("logins", fmt.Sprintf("delayed until %s, after %s in a row; gatehouse user unlock %s lifts it",
			moment(d.Until), Count(d.Failures, "bad password"), u.UID))
	}
	for _, a := range u.Rechecks {
		t.Row("asked", a.Source+" "+moment(a.Asked)+", last word "+moment(a.Answered))
		switch {
		case a.Left != "":
			t.Row("stopped", a.Source+": "+a.Left)
		case a.Doubt != "":
			t.Row("unverified", a.Source+" since "+moment(a.Since)+": "+a.Doubt)
		}
	}
	return t.Flush()
}

// rowsIn yields the rows of a list that is known.
func rowsIn[T any](list []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for _, row := range list {
			if !yield(row, nil) {
				return
			}
		}
	}
}

func rowsOf[T any](rows iter.Seq2[T, error], cells func(T) []string) iter.Seq2[[]string, error] {
	return func(yield func([]string, error) bool) {
		for row, err := range rows {
			var c []string
			if err == nil {
				c = cells(row)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// printNested writes an object with a list, which is written as it comes.
func printNested[T, L any](w io.Writer, head any, name string, rows iter.Seq2[T, error], line func(T) L) error {
	b, err := text.JSON(head)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "%s,%q:[", b[:len(b)-1], name)
	between := ""
	for row, err := range rows {
		if err == nil {
			b, err = text.JSON(line(row))
		}
		if err != nil {
			out.Flush()
			return err
		}
		fmt.Fprintf(out, "%s%s", between, b)
		between = ","
	}
	fmt.Fprintln(out, "]}")
	return out.Flush()
}

// moment shows a time in milliseconds to the second, in the reader's time zone.
func moment(ms int64) string {
	if ms == 0 {
		return "-"
	}
	return time.UnixMilli(ms).Local().Format(time.RFC3339)
}

func expiry(on string) string {
	if on == api.Never {
		return "never"
	}
	t, err := time.Parse(time.RFC3339, on)
	if err != nil {
		return dash(on)
	}
	return moment(t.UnixMilli())
}

func dash(s string) string { return cmp.Or(s, "-") }

// Count returns a number with its noun: 1 token, 2 tokens.
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
