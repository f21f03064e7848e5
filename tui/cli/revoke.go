package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

const (
	batch   = 500 // ids in one call: a request's body has a limit
	preview = 20  // rows shown before the question
	inUse   = time.Hour
)

var errKept = errors.New("nothing was changed")

// revocation is one run of `token revoke`.
type revocation struct {
	env         Env
	q           api.TokenQuery
	yes, dryRun bool
	asJSON      bool
}

func tokenRevoke(env Env) *cobra.Command {
	r := &revocation{env: env}
	open := env.with(r.run)
	c := command("revoke [ID…]", "Revoke tokens by id, or all that match", cobra.ArbitraryArgs,
		func(cmd *cobra.Command, ids []string) error {
			if err := r.check(cmd, ids); err != nil {
				return err
			}
			return open(cmd, ids)
		})
	c.Long = `Revoke tokens by id (an unambiguous prefix of 8 characters or more will do), or
all that match --user, --idle and --never-used together. What matches is shown
first; on a terminal a question follows, elsewhere --yes must be given.`
	selection(c, &r.q)
	c.Flags().BoolVar(&r.yes, "yes", false, "do not ask")
	c.Flags().BoolVar(&r.dryRun, "dry-run", false, "only list what matches, on standard output")
	c.Flags().BoolVar(&r.asJSON, "json", false, "with --dry-run: one object a line")
	return c
}

// check refuses what cannot be meant, before a client is opened.
func (r *revocation) check(cmd *cobra.Command, ids []string) error {
	filter := r.q.User != "" || r.q.Idle != "" || r.q.NeverUsed
	name := cmd.CommandPath()
	switch {
	case len(ids) == 0 && !filter:
		return usagef("%s needs an ID, or one of --user, --idle, --never-used", name)
	case len(ids) > 0 && filter:
		return usagef("%s takes either IDs or --user, --idle, --never-used, not both", name)
	case len(ids) > 0 && r.dryRun:
		return usagef("--dry-run is for --user, --idle and --never-used")
	case r.asJSON && !r.dryRun:
		return usagef("--json is for --dry-run")
	case filter && !r.yes && !r.dryRun && r.env.Password == nil:
		return usagef("without a terminal %s --user, --idle or --never-used needs --yes (--dry-run shows what matches)", name)
	}
	for i, id := range ids {
		if ids[i] = strings.ToLower(strings.TrimSpace(id)); ids[i] == "" {
			return usagef("an ID is empty")
		}
		if len(ids[i]) == 256 { // a whole token: not to be repeated in messages or logs
			return usagef("this is a token, not an ID: its ID is its first 28 characters")
		}
	}
	return nil
}

func (r *revocation) run(ctx context.Context, c *api.Client, ids []string) error {
	if len(ids) > 0 {
		n, err := c.Revoke(ctx, api.Revocation{IDs: ids})
		if err != nil {
			return err
		}
		r.report(n.Revoked, len(ids))
		return nil
	}
	if err := known(ctx, c, r.q.User); err != nil {
		return err
	}
	if r.dryRun {
		return r.env.tokens(unrevoked(c.Tokens(ctx, r.q)), r.asJSON, "")
	}
	ids, err := r.matches(ctx, c)
	if err != nil {
		return err
	}
	if len(ids) == 0 {
		r.env.say("No token matches.")
		return nil
	}
	if !r.yes {
		yes, err := r.env.confirm(fmt.Sprintf("Revoke %s for good?", count(len(ids), "token")))
		if err != nil {
			return err
		}
		if !yes {
			return errKept
		}
	}
	return r.all(ctx, c, ids)
}

// matches collects the ids that match and shows the first of them.
func (r *revocation) matches(ctx context.Context, c *api.Client) ([]string, error) {
	var ids []string
	used, since := 0, r.env.Now().Add(-inUse).UnixMilli()
	shown := text.NewTable(r.env.Err, tokenHeads()...)
	for t, err := range unrevoked(c.Tokens(ctx, r.q)) {
		if err != nil {
			return nil, err
		}
		if ids = append(ids, t.ID); len(ids) <= preview {
			shown.Row(tokenCells(t)...)
		}
		if t.Used() && t.LastUsed >= since {
			used++
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	if err := shown.Flush(); err != nil {
		return nil, err
	}
	if more := len(ids) - preview; more > 0 {
		r.env.say("… and %d more", more)
	}
	if used > 0 {
		r.env.say("IN USE: %s used within the last hour.", count(used, "token"))
	}
	return ids, nil
}

// all revokes in batches. What is done when one fails stays done.
func (r *revocation) all(ctx context.Context, c *api.Client, ids []string) error {
	done := 0
	for from := 0; from < len(ids); from += batch {
		n, err := c.Revoke(ctx, api.Revocation{IDs: ids[from:min(from+batch, len(ids))]})
		if err != nil {
			return fmt.Errorf("after %s of %d: %w", count(done, "token"), len(ids), err)
		}
		done += n.Revoked
	}
	r.report(done, len(ids))
	return nil
}

func (r *revocation) report(done, asked int) {
	if done < asked {
		r.env.say("Revoked %s; %d had been revoked before.", count(done, "token"), asked-done)
		return
	}
	r.env.say("Revoked %s.", count(done, "token"))
}
