package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"gatehouse/server/api"
	"gatehouse/tui/text"
)

func keyCommand(env Env) *cobra.Command {
	return Group("key", "Show the keys, and rotate them", keyRotate(env), keyShow(env))
}

func keyRotate(env Env) *cobra.Command {
	var in api.KeyRotation
	agreed := consent{env: env}
	c := command("rotate", "Make a new key file, and a new key for new tokens", None, env.with(by(api.Admin, func(ctx context.Context, c *api.Client, _ []string) error {
		if err := agreed.ask(ctx, rotationQuestion(in)); err != nil {
			return err
		}
		done, err := c.RotateKey(ctx, in)
		if err != nil {
			return err
		}
		env.say("The key in %s is new (%s); keep a copy elsewhere. The old one is in %s: backups from before need it.", text.Escape(done.File), done.ID, text.Escape(done.Old))
		if done.Ends == 0 {
			env.say("New tokens begin with %s. All others work on.", done.TokenKey)
		} else {
			env.say("New tokens begin with %s. All others end at %s.", done.TokenKey, moment(done.Ends))
		}
		return nil
	})))
	c.Flags().StringVar(&in.RetireTokensAfter, "retire-tokens-after", "", `when the tokens made so far end, such as "30d" (default: they work on)`)
	agreed.required(c)
	return c
}

func rotationQuestion(in api.KeyRotation) string {
	if in.RetireTokensAfter == "" {
		return "Replace the key? Tokens made so far work on."
	}
	return fmt.Sprintf("Replace the key, and end all tokens made so far after %s?", text.Escape(in.RetireTokensAfter))
}

func keyShow(env Env) *cobra.Command {
	return command("show", "Show which keys there are, how old they are, and what needs them", None, env.with(func(ctx context.Context, c *api.Client, _ []string) error {
		k, err := c.Keys(ctx)
		if err != nil {
			return err
		}
		return errors.Join(keyFiles(env.Out, k.Files), env.tokenKeys(k.Tokens))
	}))
}

func keyFiles(w io.Writer, list []api.KeyFile) error {
	t := text.NewTable(w, "KEY FILE", "ID", "WRITTEN", "USE")
	for n, f := range list {
		use := "older backups"
		switch {
		case n == 0 && f.Opens:
			use = "this store, and its backups from now on"
		case n == 0:
			use = "none: it does not open this store"
		case f.Opens:
			use = "a copy: it also opens this store"
		}
		t.Row(f.Name, f.ID, moment(f.Written), use)
	}
	return t.Flush()
}

func (env Env) tokenKeys(list []api.TokenKey) error {
	if _, err := fmt.Fprintln(env.Out); err != nil {
		return err
	}
	t := text.NewTable(env.Out, "TOKEN KEY", "MADE", "TOKENS", "USE")
	for _, k := range list {
		made, use := "with the store", "tokens made before"
		if k.Made != 0 {
			made = moment(k.Made)
		}
		switch {
		case k.Current:
			use = "new tokens"
		case k.Ends != 0 && k.Ends <= env.Now().UnixMilli():
			use = "none: its tokens ended at " + moment(k.Ends)
		case k.Ends != 0:
			use = "its tokens end at " + moment(k.Ends)
		}
		t.Row(k.Number, made, fmt.Sprint(k.Tokens), use)
	}
	return t.Flush()
}
