package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

const intro = `API access tokens for the services that you run yourself.

Begin with these:

  gatehouse serve                                  run the server
  gatehouse user add ada@example.com               add a user
  gatehouse token create --user ada@example.com    make a token
  gatehouse admin                                  open the terminal UI
  gatehouse manual start                           read the first chapter of the manual

gatehouse COMMAND --help explains a command and shows an example. gatehouse manual
commands lists the exit statuses, and the flags that the environment can set.`

// groups are the commands in the order of the help.
var groups = []struct {
	title    string
	commands []string
}{
	{"Server:", []string{"serve", "admin", "whoami", "health", "config", "demo"}},
	{"Users and tokens:", []string{"user", "token", "service"}},
	{"Audit log, leaks, backup:", []string{"events", "notify", "scan", "key", "backup", "restore"}},
	{"Help:", []string{"manual", "help", "completion", "version"}},
}

// examples has one for each command that does something.
var examples = map[string]string{
	"serve":         "gatehouse serve --listen 127.0.0.1:8080",
	"admin":         "gatehouse admin --read-only",
	"whoami":        "gatehouse whoami",
	"health":        "gatehouse health --data /var/lib/gatehouse",
	"demo":          "gatehouse demo --users 50 --tokens 400 --data demo",
	"config check":  "gatehouse config check --ldap ada",
	"config show":   "gatehouse config show",
	"user add":      "gatehouse user add ada@example.com --name \"Ada Lovelace\"",
	"user list":     "gatehouse user list --search ada",
	"user show":     "gatehouse user show ada@example.com",
	"user passwd":   "gatehouse user passwd ada@example.com",
	"user disable":  "gatehouse user disable ada@example.com",
	"user enable":   "gatehouse user enable ada@example.com",
	"user unlock":   "gatehouse user unlock ada@example.com",
	"user rename":   "gatehouse user rename ada@example.com countess@example.com",
	"user remove":   "gatehouse user remove ada@example.com",
	"user link":     "gatehouse user link ada@example.com ldap 6f1d5a52-5c1e-4c0a-9d5e-0d5c3f1f7a10",
	"user unlink":   "gatehouse user unlink ada@example.com ldap 6f1d5a52-5c1e-4c0a-9d5e-0d5c3f1f7a10",
	"user offboard": "gatehouse user offboard --confirm",
	"token list":    "gatehouse token list --user ada@example.com --idle 90d",
	"token show":    "gatehouse token show 01490e21",
	"token create":  "gatehouse token create --user ada@example.com --name nightly --expires 90d --scope files",
	"token rotate":  "gatehouse token rotate 01490e21 --overlap 24h",
	"token rename":  "gatehouse token rename 01490e21 \"nightly backup\"",
	"token revoke":  "gatehouse token revoke --idle 1y --dry-run",
	"events":        "gatehouse events --about ada@example.com",
	"scan":          "git log -p | gatehouse scan -\n  gatehouse scan --revoke /srv/repositories",
	"notify test":   "gatehouse notify test --to ada@example.com",
	"key rotate":    "gatehouse key rotate --retire-tokens-after 30d",
	"key show":      "gatehouse key show",
	"backup":        "gatehouse backup /srv/backup/ --keep 14",
	"restore":       "gatehouse restore /srv/backup/gatehouse-20261129T023000Z --data new",
	"manual":        "gatehouse manual ldap",
	"help":          "gatehouse help token revoke",
	"completion":    "gatehouse completion bash >/etc/bash_completion.d/gatehouse",
	"version":       "gatehouse version",

	"service add":      "gatehouse service add deploy --owner ada@example.com --successor bob@example.com --description \"deploys to production\"",
	"service list":     "gatehouse service list",
	"service show":     "gatehouse service show deploy",
	"service transfer": "gatehouse service transfer deploy --owner bob@example.com",
	"service remove":   "gatehouse service remove deploy",
}

// Describe puts the commands below root into groups, and gives each an example. It is
// called once all commands are added.
func Describe(root *cobra.Command) {
	for _, g := range groups {
		root.AddGroup(&cobra.Group{ID: g.title, Title: g.title})
		for _, c := range root.Commands() {
			for _, name := range g.commands {
				if c.Name() == name {
					c.GroupID = g.title
				}
			}
		}
	}
	root.SetHelpCommandGroupID("Help:")
	each(root, func(c *cobra.Command) {
		if example, ok := examples[strings.TrimPrefix(c.CommandPath(), root.Name()+" ")]; ok && c.Example == "" {
			c.Example = "  " + example
		}
	})
}

// each calls f for a command and all below it.
func each(c *cobra.Command, f func(*cobra.Command)) {
	f(c)
	for _, child := range c.Commands() {
		each(child, f)
	}
}
