package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	"gatehouse/tui/text"
)

// recent is how many records `events --follow` goes back to begin with.
const recent = 10

// mostLast is how many events the server returns for one look at most.
const mostLast = 10_000

// look is one run of `events`.
type look struct {
	env                    Env
	about                  []string // one
	filters                api.Filters
	last                   int
	before                 uint64
	follow, asJSON, verify bool
	atLeast                string
}

func eventsCommand(env Env) *cobra.Command {
	l := &look{env: env}
	c := command("events", "Print the audit log", None, env.with(l.run))
	c.PreRunE = l.check
	c.Flags().StringArrayVar(&l.about, "about", nil, "only events about this user or token (`UID|ID`)")
	l.filters = filterFlags(c, api.EventFilters)
	c.Flags().IntVar(&l.last, "last", 0, "only the latest N events, found by reading the log backwards")
	c.Flags().Uint64Var(&l.before, "before", 0, "with --last: only events before this record, which the previous run printed")
	c.Flags().BoolVar(&l.follow, "follow", false, "print the last few events, then each new one as it happens")
	jsonFlag(c, &l.asJSON, "print one object a line")
	c.Flags().BoolVar(&l.verify, "verify", false, "read the whole log and check that nothing was changed or removed")
	c.Flags().StringVar(&l.atLeast, "at-least", "", "with --verify: also check that the log contains the record N:HASH, which an earlier --verify printed")
	return c
}

// check refuses combinations of flags that make no sense.
func (l *look) check(c *cobra.Command, _ []string) error {
	switch {
	case l.verify && (l.follow || onLine(c, "json") || len(l.about) > 0 || len(l.filters) > 0 || l.last != 0 || l.before != 0):
		return Usagef("--verify can only be combined with --at-least")
	case l.atLeast != "" && !l.verify:
		return Usagef("--at-least needs --verify")
	case l.atLeast != "" && !isPosition(l.atLeast):
		return Usagef("--at-least takes a record's number, a colon and its hash, as --verify prints them")
	case l.last < 0 || l.last > mostLast || l.last == 0 && c.Flags().Changed("last"):
		return Usagef("--last must be from 1 to %d", mostLast)
	case l.follow && len(l.filters["until"]) > 0:
		return Usagef("--follow has no end, so it can't be combined with --until")
	case l.follow && l.last > 0:
		return Usagef("--follow and --last can't be combined")
	case l.before > 0 && l.last == 0:
		return Usagef("--before needs --last")
	case len(l.about) > 1:
		return Usagef("--about is given twice, but takes one value")
	case len(l.about) == 1 && !strings.Contains(l.about[0], "@"):
		return checkID(l.about[0])
	}
	return nil
}

func (l *look) run(ctx context.Context, c *api.Client, _ []string) error {
	q := api.EventQuery{Follow: l.follow, Filters: l.filters}
	for _, name := range l.about {
		if strings.Contains(name, "@") {
			q.UID = name
		} else {
			q.Token = name
		}
	}
	switch {
	case l.verify:
		return l.env.verify(ctx, c, l.atLeast)
	case l.follow && c.Offline(): // nothing would come, and no server could start
		return &api.UnreachableError{Err: errors.New("start it to follow the log, or leave out --follow")}
	case l.follow: // nothing will come about a removed user
		if err := known(ctx, c, q.UID); err != nil {
			return err
		}
		q.Last = recent
	case l.last > 0:
		h, err := c.History(ctx, api.HistoryQuery{UID: q.UID, Token: q.Token, Before: l.before, Last: l.last, Filters: l.filters})
		if err != nil {
			return flagged(err)
		}
		if len(h.Events) == 0 && h.Before == 0 {
			if err := known(ctx, c, q.UID); err != nil {
				return err
			}
		}
		return l.history(h)
	}
	if l.follow {
		err := l.env.follow(c.Events(ctx, q), l.asJSON)
		switch {
		case ctx.Err() != nil:
			return nil // stopping it is the way to end it
		case err == nil:
			return errors.New("the server has stopped, so no more events will come")
		}
		return flagged(err)
	}
	some := false
	err := l.env.events(noting(&some, c.Events(ctx, q)), l.asJSON)
	if err == nil && !some {
		err = known(ctx, c, q.UID) // a removed user is not, but has events
	}
	return flagged(err)
}

// noting yields the rows, and sets some to true at the first one.
func noting[T any](some *bool, rows iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for row, err := range rows {
			*some = *some || err == nil
			if !yield(row, err) {
				return
			}
		}
	}
}

// history prints the events that were found and, if the audit log goes back further, how to
// continue.
func (l *look) history(h api.History) error {
	if err := l.env.events(rowsIn(h.Events), l.asJSON); err != nil || h.Before == 0 {
		return err
	}
	l.env.say("This goes back to %s. For earlier events add --before %d.", moment(h.Since), h.Before)
	if !l.asJSON {
		return nil
	}
	return export.Line(l.env.Out, struct {
		Before uint64 `json:"before"`
		Since  int64  `json:"since"`
	}{h.Before, h.Since})
}

// isPosition reports whether s is a number, a colon and a SHA-256 in hexadecimal.
func isPosition(s string) bool {
	number, hash, _ := strings.Cut(s, ":")
	_, err := strconv.ParseUint(number, 10, 64)
	b, hexErr := hex.DecodeString(hash)
	return err == nil && hexErr == nil && len(b) == 32
}

// verify prints the last record as --at-least takes it.
func (env Env) verify(ctx context.Context, c *api.Client, atLeast string) error {
	v, err := c.Verify(ctx, atLeast)
	if err != nil {
		return err
	}
	if v.Problem != "" {
		return errors.New(v.Problem)
	}
	env.say("The audit log is complete, from record %d to record %d.", v.First, v.Last)
	if atLeast != "" {
		number, _, _ := strings.Cut(atLeast, ":")
		env.say("It contains record %s unchanged.", number)
	}
	_, err = fmt.Fprintln(env.Out, v.End)
	return err
}

func (env Env) events(rows iter.Seq2[api.Event, error], asJSON bool) error {
	if asJSON {
		return export.JSON(env.Out, rows, func(e api.Event) api.Event { return e })
	}
	return env.table(rowsOf(rows, eventCells), "", "TIME", "ACTOR", "ACTION", "USER", "TOKEN", "ADDRESS", "DETAIL")
}

// follow prints each event as it comes. The widths of columns can't be known in
// advance, so each line is a table of its own.
func (env Env) follow(rows iter.Seq2[api.Event, error], asJSON bool) error {
	for e, err := range rows {
		if err == nil && asJSON {
			err = export.Line(env.Out, e)
		} else if err == nil {
			err = text.NewTable(env.Out, eventCells(e)...).Flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func eventCells(e api.Event) []string {
	return []string{moment(e.Time), dash(e.Actor), e.Action, dash(e.UID), dash(e.Token), dash(e.Address), dash(e.Remark())}
}
