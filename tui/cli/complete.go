package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"gatehouse/server/api"
)

// A shell asks for completions while somebody types. What the server does not answer at
// once is left out, and no store is opened for it.
const (
	completeWithin = time.Second
	mostCompleted  = 200
	mostLookedAt   = 2000 // tokens, for the scopes that they have
)

// Complete lets the shell complete uids, ids and scopes that the running server knows, in
// all commands below root. Running returns a client of that server, or an error if none
// runs.
func Complete(root *cobra.Command, running func(context.Context) (*api.Client, error)) {
	ask := func(c *cobra.Command, about func(context.Context, *api.Client, string) []string, typed string) ([]string, cobra.ShellCompDirective) {
		if environment(c) != nil { // the environment names the directory, and is not read yet
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(c.Context(), completeWithin)
		defer cancel()
		client, err := running(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer client.Close()
		return about(ctx, client, typed), cobra.ShellCompDirectiveNoFileComp
	}
	each(root, func(c *cobra.Command) {
		var about func(context.Context, *api.Client, string) []string
		_, first, _ := strings.Cut(c.Use, " ")
		switch {
		case c.ValidArgsFunction != nil || len(c.ValidArgs) > 0:
		case strings.HasPrefix(first, "UID"):
			about = uids
		case c.HasParent() && c.Parent().Name() == "service" && strings.HasPrefix(first, "NAME"):
			about = services
		case strings.HasPrefix(first, "ID"), strings.HasPrefix(first, "[ID"):
			about = ids
		}
		if about != nil && c.Name() != "add" {
			repeats := strings.Contains(first, "…")
			c.ValidArgsFunction = func(c *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
				if len(args) > 0 && !repeats {
					return nil, cobra.ShellCompDirectiveNoFileComp
				}
				return ask(c, about, typed)
			}
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			about := map[string]func(context.Context, *api.Client, string) []string{
				"user": uids, "about": uids, "owner": uids, "successor": uids, "id": ids, "scope": scopes,
			}[f.Name]
			if about == nil {
				return
			}
			c.RegisterFlagCompletionFunc(f.Name, func(c *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
				return ask(c, about, typed)
			})
		})
	})
}

// uids returns the uids that begin with what was typed.
func uids(ctx context.Context, c *api.Client, typed string) (list []string) {
	q := api.UserQuery{Limit: mostCompleted}
	if typed != "" {
		q.Filters = api.Where("prefix", typed)
	}
	for u, err := range c.Users(ctx, q) {
		if err != nil {
			break
		}
		list = append(list, cobra.CompletionWithDesc(u.UID, u.Name))
	}
	return list
}

// services returns the uids of service accounts that begin with what was typed.
func services(ctx context.Context, c *api.Client, typed string) (list []string) {
	for s, err := range c.Services(ctx, "") {
		if err != nil || len(list) == mostCompleted {
			break
		}
		if strings.HasPrefix(s.UID, typed) {
			list = append(list, cobra.CompletionWithDesc(s.UID, s.Description))
		}
	}
	return list
}

// ids returns the ids of tokens, with what tells the tokens apart.
func ids(ctx context.Context, c *api.Client, typed string) (list []string) {
	q := api.TokenQuery{Limit: mostCompleted}
	if typed != "" {
		q.Filters = api.Where("id", typed)
	}
	for t, err := range c.Tokens(ctx, q) {
		if err != nil {
			break
		}
		list = append(list, cobra.CompletionWithDesc(t.ID, strings.TrimSpace(t.UID+" "+t.Name)))
	}
	return list
}

// scopes returns the scopes that Gatehouse itself asks for, and those of tokens.
func scopes(ctx context.Context, c *api.Client, typed string) []string {
	list := []string{"files", "introspect", "tokens:read"}
	for t, err := range c.Tokens(ctx, api.TokenQuery{Limit: mostLookedAt}) {
		if err != nil {
			break
		}
		for _, s := range t.Scopes {
			if !slices.Contains(list, s) {
				list = append(list, s)
			}
		}
	}
	slices.Sort(list)
	return slices.DeleteFunc(list, func(s string) bool { return !strings.HasPrefix(s, typed) })
}
