package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/export"
	doomed "gatehouse/tui/revocation"
	"gatehouse/tui/text"
)

const preview = 20 // rows shown before the question

// revocation is one run of `token revoke`.
type revocation struct {
	env    Env
	q      api.TokenQuery
	match  api.Matching
	agreed consent
	dryRun bool
	asJSON bool
}

func tokenRevoke(env Env) *cobra.Command {
	r := &revocation{env: env, agreed: consent{env: env}}
	c := command("revoke [ID…]", "Revoke tokens by id, or all that match filters", cobra.ArbitraryArgs, env.with(r.run))
	c.PreRunE = r.check
	c.Long = `Revoke tokens by id (its first 8 characters are enough if no other id begins with
them), or all that match every filter. The command shows what matches and asks. Without
a terminal it needs --yes. If other tokens match by the time of your answer, nothing is
revoked, and it asks again.` + times
	r.q.Filters = filterFlags(c, api.TokenFilters)
	r.agreed.flag(c)
	c.Flags().BoolVar(&r.dryRun, "dry-run", false, "only list what matches")
	jsonFlag(c, &r.asJSON, "print one object with the numbers of tokens revoked and in all; with --dry-run, one for each token")
	return c
}

// check rejects combinations that make no sense, before a client is opened.
func (r *revocation) check(cmd *cobra.Command, ids []string) error {
	filter := len(r.q.Filters) > 0
	name := cmd.CommandPath()
	switch {
	case len(ids) == 0 && !filter:
		return Usagef("%s needs an ID, or one of the filters, such as --user or --idle", name)
	case len(ids) > 0 && filter:
		return Usagef("%s takes either IDs or filters, not both", name)
	case filter && !r.dryRun:
		if err := r.agreed.check(name + " by filter"); err != nil {
			return Usagef("%w (--dry-run shows what matches)", err)
		}
	}
	for i, id := range ids {
		if ids[i] = strings.ToLower(strings.TrimSpace(id)); ids[i] == "" {
			return Usagef("an ID is empty")
		}
		if err := checkID(ids[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *revocation) run(ctx context.Context, c *api.Client, ids []string) error {
	if len(ids) > 0 && r.dryRun {
		return r.named(ctx, c, ids)
	}
	if len(ids) > 0 {
		n, err := c.Revoke(ctx, api.Revocation{IDs: ids})
		if err != nil {
			return err
		}
		return r.report(n.Revoked, len(ids))
	}
	if r.dryRun {
		return r.env.tokens(c.Tokens(ctx, r.q), form{json: r.asJSON}, "")
	}
	return by(api.Operator, r.matching)(ctx, c, nil)
}

// matching revokes what matches. It asks until the answer is about what still matches.
func (r *revocation) matching(ctx context.Context, c *api.Client, _ []string) error {
	for {
		err := r.attempt(ctx, c)
		if r.agreed.yes || !api.Refused(err, http.StatusConflict) {
			return err
		}
		r.env.say("%s.", err) // and asks again
	}
}

// attempt shows what matches, asks, and revokes it. It is refused if other tokens match by
// then.
func (r *revocation) attempt(ctx context.Context, c *api.Client) error {
	n, err := r.matches(ctx, c)
	if err != nil {
		return err
	}
	if n == 0 {
		r.env.say("No token matches.")
		return r.print(0, 0)
	}
	if err := r.agreed.ask(ctx, fmt.Sprintf("Revoke %s for good?", Count(n, "token"))); err != nil {
		return err
	}
	if r.agreed.yes {
		r.match = api.Matching{} // all that match at that moment
	}
	return r.all(ctx, c)
}

// named lists the tokens of these ids that are not revoked yet, if all ids name one.
func (r *revocation) named(ctx context.Context, c *api.Client, ids []string) error {
	var all []api.Token
	for _, id := range ids {
		t, err := c.Token(ctx, id)
		if err != nil {
			return err
		}
		named := func(other api.Token) bool { return other.ID == t.ID }
		if t.State != api.StateRevoked && !slices.ContainsFunc(all, named) {
			all = append(all, t.Token)
		}
	}
	return r.env.tokens(rowsIn(all), form{json: r.asJSON}, "")
}

// matches counts what matches and shows some of it: those in use first, then the latest used.
func (r *revocation) matches(ctx context.Context, c *api.Client) (int, error) {
	d, err := doomed.LookUp(ctx, c, doomed.Target{Match: &doomed.Match{Query: r.q}})
	if err != nil || d.Total == 0 {
		return 0, err
	}
	r.match = d.Agreed()
	d.Arrange(r.env.Now())
	shown := text.NewTable(r.env.Err, tokenHeads()...)
	for _, t := range d.Tokens[:min(preview, len(d.Tokens))] {
		shown.Row(tokenCells(t)...)
	}
	if err := shown.Flush(); err != nil {
		return 0, err
	}
	if more := d.Total - preview; more > 0 {
		r.env.say("… and %d more", more)
	}
	switch {
	case d.InUse == 1:
		r.env.say("IN USE: 1 token used within the last hour.")
	case d.InUse > 1:
		r.env.say("IN USE: %s tokens used within the last hour.", strings.ToLower(d.Used()))
	}
	return d.Total, nil
}

// all has the server revoke what matches, if that is still what was agreed to, and shows
// the progress on a terminal. If it is interrupted, the tokens already revoked stay revoked.
func (r *revocation) all(ctx context.Context, c *api.Client) error {
	p, err := r.follow(c.RevokeMatching(ctx, api.BulkRevocation{Filters: r.q.Filters, Set: r.match.Set, At: r.match.At}))
	if p.Job == "" { // refused
		return err
	}
	return errors.Join(err, r.print(p.Revoked, p.Total))
}

// follow shows the progress and returns the last one that came.
func (r *revocation) follow(rows iter.Seq2[api.Progress, error]) (p api.Progress, err error) {
	var next api.Progress
	for next, err = range rows {
		if err != nil {
			break
		}
		p = next
		if r.env.Password != nil {
			fmt.Fprintf(r.env.Err, "\r%d of %d revoked", p.Revoked, p.Total)
		}
	}
	if r.env.Password != nil && p.Job != "" {
		fmt.Fprintln(r.env.Err)
	}
	switch {
	case err != nil && p.Job == "": // refused
		return p, err
	case err != nil:
		return p, fmt.Errorf("after at least %s of %d: %w", Count(p.Revoked, "token"), p.Total, err)
	case !p.Done:
		return p, fmt.Errorf("after at least %s of %d: the server stopped", Count(p.Revoked, "token"), p.Total)
	case p.Stopped:
		return p, fmt.Errorf("stopped after %s of %d", Count(p.Revoked, "token"), p.Total)
	case p.Revoked < p.Total:
		r.env.say("Revoked %s. Left %d alone, because they no longer matched.", Count(p.Revoked, "token"), p.Total-p.Revoked)
	default:
		r.env.say("Revoked %s.", Count(p.Revoked, "token"))
	}
	return p, nil
}

// report says how many of the ids that were named are revoked.
func (r *revocation) report(done, asked int) error {
	if done < asked {
		r.env.say("Revoked %s. Already revoked: %d.", Count(done, "token"), asked-done)
	} else {
		r.env.say("Revoked %s.", Count(done, "token"))
	}
	return r.print(done, asked)
}

// print writes the result as JSON, if that was asked for.
func (r *revocation) print(done, of int) error {
	if !r.asJSON {
		return nil
	}
	return export.Line(r.env.Out, struct {
		Revoked int `json:"revoked"`
		Total   int `json:"total"`
	}{done, of})
}
