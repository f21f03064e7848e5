package tui

import (
	"context"
	"strings"
	"testing"

	tea "github.com/charmbracelet/bubbletea"

	"gatehouse/server/api"
)

// counting counts the questions for single tokens.
type counting struct {
	*fake
	tokens []string
}

func (c *counting) Token(ctx context.Context, id string) (api.TokenDetail, error) {
	c.tokens = append(c.tokens, id)
	return c.fake.Token(ctx, id)
}

// TestPane: beside the rows is what enter would open. The pane follows the cursor at
// once, and asks the server only about the row that the cursor rests on.
func TestPane(t *testing.T) {
	c := &counting{fake: people()}
	d := drive(t, c, Options{})
	d.press("2jj")
	d.wantNot("│ Token 015feceb66ffc86f38d952786c6d")
	d.send(tea.WindowSizeMsg{Width: 140, Height: 30})
	d.want("│ Token 015feceb66ffc86f38d952786c6d", "│  name        forty-thieves")
	d.press("jjj")
	d.want("│ Token 01e7f6c011776e8db7cd330b5417")
	if len(c.tokens) != 0 {
		t.Errorf("asked about %v while the cursor moved", c.tokens)
	}
	d.tick(paneAfter)
	if len(c.tokens) != 1 || !strings.HasPrefix(c.tokens[0], "01e7f6c011") {
		t.Errorf("asked about %v, want the row under the cursor", c.tokens)
	}
	d.want("│  created by  alistair@example.com", "│  USED FROM")
	d.hold = true
	d.press("k")
	d.tick(paneAfter)
	older := d.held
	d.held = nil
	d.press("k")
	d.release()
	for _, cmd := range older {
		d.deliver(cmd())
	}
	d.want("│ Token 01d4735e3a")
	d.wantNot("│ Token 01ef2d127d", "USED FROM")
	d.press("v")
	d.wantNot("│ Token")
	d.press("v1j")
	d.want("│ Users > alice@example.com")
	d.tick(paneAfter)
	d.want("│  known as  ldap 0f3a6c1e", "214 days ago")
	if n := strings.Count(d.View(), " >   "); n != 1 {
		t.Errorf("%d rows look as if the cursor was there:\n%s", n, d.View())
	}
	d.press("5")
	d.wantNot("│ Users >")
}

// TestPaneIsNotAimedAt: keys act on the row under the cursor, not on the pane beside it.
func TestPaneIsNotAimedAt(t *testing.T) {
	f := people()
	d := drive(t, f, Options{})
	d.send(tea.WindowSizeMsg{Width: 160, Height: 40})
	d.press("j")
	d.tick(paneAfter)
	d.press("R")
	d.want("Revoke all 3 tokens of alice@example.com for good?")
	d.press("<esc>2")
	d.tick(paneAfter)
	d.press("jjRy")
	if want := "revoke 015feceb66ffc86f38d952786c6d"; len(f.changes) != 1 || f.changes[0] != want {
		t.Errorf("got %v, want %s", f.changes, want)
	}
}
