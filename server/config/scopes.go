package config

import (
	"fmt"
	"slices"
	"strings"

	"gatehouse/storage/record"
)

// ownScopes are the scopes that Gatehouse itself asks for; they always exist. All other
// scopes matter only to the services behind the gate.
var ownScopes = []string{"files", "introspect", "tokens:read"}

// Scopes lists the scopes that exist, each once: Gatehouse's own, and known_scopes. Others
// may be given to a token only if known_scopes is empty.
func (c Tokens) Scopes() []string {
	list := slices.Clone(ownScopes)
	for _, scope := range c.KnownScopes {
		if !slices.Contains(list, scope) {
			list = append(list, scope)
		}
	}
	return list
}

// CheckScopes returns an error if known_scopes is not empty and one of these scopes is
// not in it. Otherwise every scope may be given, and the warning names those that look
// mistyped: a token with such a scope works, but not where it is meant to.
func (c Tokens) CheckScopes(scopes []string) (warning string, err error) {
	known := c.Scopes()
	var slips []string
	for _, scope := range scopes {
		if err := record.CheckScope(scope); err != nil {
			return "", err
		}
		if slices.Contains(known, scope) || IsSCIM([]string{scope}) {
			continue
		}
		near := slices.IndexFunc(known, func(k string) bool { return oneLetterOff(k, scope) })
		switch {
		case len(c.KnownScopes) > 0 && near >= 0:
			return "", fmt.Errorf("%q is not known: did you mean %q?", scope, known[near])
		case len(c.KnownScopes) > 0:
			return "", fmt.Errorf("%q is not known: there are %s", scope, strings.Join(known, ", "))
		case scope == scimScope:
			slips = append(slips, fmt.Sprintf("%q is not the scope for SCIM: that is %s", scope, SCIMScopeOf("PROVIDER")))
		case near >= 0:
			slips = append(slips, fmt.Sprintf("unknown scope %q (did you mean %q?)", scope, known[near]))
		}
	}
	return strings.Join(slips, "; "), nil
}

// oneLetterOff reports whether one letter was mistyped, left out, added or exchanged
// with the next one, or letters were typed in another case.
func oneLetterOff(a, b string) bool {
	x, y := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	if len(x) > len(y) {
		x, y = y, x
	}
	at := 0
	for at < len(x) && x[at] == y[at] {
		at++
	}
	x, y = x[at:], y[at:]
	switch len(y) - len(x) {
	case 0:
		return len(x) == 0 || slices.Equal(x[1:], y[1:]) ||
			len(x) > 1 && x[0] == y[1] && x[1] == y[0] && slices.Equal(x[2:], y[2:])
	case 1:
		return slices.Equal(x, y[1:])
	}
	return false
}

// scimScope begins the scope of a token that speaks for a provider by SCIM. Such a token
// can suspend and remove users.
const scimScope = "scim"

// SCIMScopeOf returns the scope of tokens that speak for a provider by SCIM.
func SCIMScopeOf(provider string) string { return scimScope + ":" + provider }

// IsSCIM reports whether one of the scopes lets a token speak for a provider by SCIM.
func IsSCIM(scopes []string) bool {
	return slices.ContainsFunc(scopes, func(s string) bool { return strings.HasPrefix(s, SCIMScopeOf("")) })
}

// SCIMScope returns the provider that a token with these scopes speaks for. It returns an
// error unless there is exactly one.
func SCIMScope(scopes []string) (provider string, err error) {
	for _, scope := range scopes {
		name, ok := strings.CutPrefix(scope, SCIMScopeOf(""))
		switch {
		case !ok:
		case name == "":
			return "", fmt.Errorf("%q: write the name of a provider after it", scope)
		case provider != "":
			return "", fmt.Errorf("a token speaks for one provider: %s, or %s", provider, name)
		default:
			provider = name
		}
	}
	if provider == "" {
		return "", fmt.Errorf("there is no scope %s", SCIMScopeOf("PROVIDER"))
	}
	return provider, nil
}
