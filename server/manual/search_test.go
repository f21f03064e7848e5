package manual_test

import (
	"strings"
	"testing"

	"gatehouse/server/manual"
)

// TestSearch: the first result is the section about what was asked, and its excerpt
// shows each word that it has.
func TestSearch(t *testing.T) {
	for query, want := range map[string]string{
		"kerberos":                        "",
		"":                                "",
		"  ":                              "",
		"fail2ban":                        "operate",
		"gitea app.ini":                   "gateway",
		"RESTORE older":                   "backup",
		"krbPrincipalExpiration":          "ldap",
		"rincipalExpiration":              "", // words are found by how they begin
		"entra tenant":                    "oauth",
		strings.Repeat("backup ", 10_000): "backup",
	} {
		found := manual.Search(query)
		got := ""
		if len(found) > 0 {
			got = found[0].Topic
			var all, marked strings.Builder
			for _, part := range found[0].Excerpt {
				all.WriteString(part.Text)
				if part.Found {
					marked.WriteString(part.Text)
				}
			}
			if marked.Len() == 0 && found[0].Text != "" || all.Len() > 300 {
				t.Errorf("%.40q: the excerpt is %q, marked %q", query, &all, &marked)
			}
		}
		if got != want {
			t.Errorf("%.40q: got the chapter %q first, want %q", query, got, want)
		}
	}
}
