package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/text"
)

func tokenShow(env Env) *cobra.Command {
	var asJSON bool
	c := command("show ID", "Show a token: its limits, its uses and the addresses it came from", oneToken, env.with(
		func(ctx context.Context, c *api.Client, args []string) error {
			t, err := c.Token(ctx, args[0])
			if err != nil {
				return err
			}
			if asJSON {
				return export.Line(env.Out, t)
			}
			return env.token(t)
		}))
	jsonFlag(c, &asJSON, "print one object")
	return c
}

// token prints what is known of a token, one fact a line.
func (env Env) token(d api.TokenDetail) error {
	t := text.NewTable(env.Out, "id", d.ID)
	for n, cell := range tokenCells(d.Token)[1:] {
		t.Row(strings.ToLower(tokenHeads()[1+n]), cell)
	}
	t.Row("created by", dash(d.CreatedBy))
	t.Row("scopes", orAll(d.Scopes, "all"))
	t.Row("addresses", orAll(d.Addresses, "any"))
	t.Row("uses", strconv.FormatInt(d.Uses, 10))
	days := make([]string, len(d.Days))
	for n, uses := range d.Days {
		days[n] = strconv.FormatInt(uses, 10)
	}
	t.Row(fmt.Sprintf("last %d days", len(days)), strings.Join(days, " "))
	if err := t.Flush(); err != nil || len(d.Seen) == 0 {
		return err
	}
	fmt.Fprintln(env.Out)
	seen := text.NewTable(env.Out, "SEEN FROM", "LAST", "AGENT")
	for _, s := range d.Seen {
		seen.Row(s.Address, moment(s.Time), dash(s.Agent))
	}
	return seen.Flush()
}

func orAll(list []string, all string) string {
	if len(list) == 0 {
		return all
	}
	return strings.Join(list, " ")
}
