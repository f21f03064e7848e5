package oauth

import "strings"

// SubjectForm describes what the provider's subjects look like, such as "a number",
// and reports whether text is one. The description is empty where a subject may be
// any text.
func (p *Provider) SubjectForm(text string) (form string, ok bool) {
	digits := text != "" && strings.Trim(text, "0123456789") == ""
	switch p.cfg.Type {
	case GitHub, GitLab, Gitea:
		return "the account's number, such as 583231", digits && len(text) <= 19 && text[0] != '0'
	case Google:
		return "the account's number, of up to 255 digits", digits && len(text) <= 255
	}
	return "", false
}
