package record

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// InvalidError reports invalid input. Its message says what to do.
type InvalidError struct{ Message string }

func (e *InvalidError) Error() string { return e.Message }

// Invalidf returns an [InvalidError].
func Invalidf(format string, args ...any) error {
	return &InvalidError{fmt.Sprintf(format, args...)}
}

// Fold maps all spellings of a uid to one: compatibility forms (fullwidth
// letters, ligatures) and case.
func Fold(uid string) string {
	if !strings.ContainsFunc(uid, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return strings.ToLower(uid)
	}
	return norm.NFKC.String(cases.Fold().String(norm.NFKC.String(uid)))
}

// Folding names what Fold knows of letters: with another value it may map them differently.
const Folding = cases.UnicodeVersion + " " + norm.Version

// CheckUID returns an *[InvalidError] unless s can name a user: an e-mail
// address, of at most 254 bytes (RFC 5321, section 4.5.3.1.3).
func CheckUID(s string) error {
	at := strings.LastIndexByte(s, '@')
	if len(s) > 254 || at < 1 || at == len(s)-1 || !localPart(s[:at]) || !plain(s) || strings.ContainsFunc(s, unicode.IsSpace) {
		return Invalidf("a user is named by an e-mail address, such as alice@example.com")
	}
	return nil
}

// localPart reports whether s is valid before the last @ of an address: an @ in
// it must be quoted (RFC 5321, section 4.1.2).
func localPart(s string) bool {
	quoted := len(s) > 2 && s[0] == '"' && s[len(s)-1] == '"'
	return quoted || !strings.Contains(s, "@")
}

// plain reports whether s is text that can be shown on one line as it is.
func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	})
}

// Check returns an *[InvalidError] unless id is a valid identity.
func (id Identity) Check() error {
	if id.Source == "" || id.Subject == "" || len(id.Source) > 64 || len(id.Subject) > 512 || !plain(id.Source) || !plain(id.Subject) {
		return Invalidf("an identity is a source, such as ldap, and a subject, such as an entryUUID")
	}
	if id.Source == SourceLocal {
		return Invalidf("a local account is tied to its password, not to a subject")
	}
	return nil
}

// CheckScope returns an *[InvalidError] unless s is a valid scope: a narrower form of
// RFC 6749's scope-token that is safe in a header.
func CheckScope(s string) error {
	other := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-.:/", r))
	}
	if len(s) == 0 || len(s) > 64 || strings.ContainsFunc(s, other) {
		return Invalidf("a scope is 1 to 64 letters, digits and _ - . : /")
	}
	return nil
}

// maxName is the length of the longest name of a person or a token, in characters.
const maxName = 200

// CleanName returns a name that somebody typed for a token or a person, without the
// blanks around it. For a name without visible characters it returns "". It returns
// an *[InvalidError] for a text that can't be a name: see unfit.
func CleanName(s string) (string, error) {
	s = strings.TrimFunc(s, blank)
	if !utf8.ValidString(s) || utf8.RuneCountInString(s) > maxName || strings.ContainsFunc(s, unfit) {
		return "", Invalidf("a name is one line of at most %d characters, without control characters", maxName)
	}
	if !strings.ContainsFunc(s, visible) {
		return "", nil
	}
	return s, nil
}

// NameFrom makes a valid name from a person's name in a directory or at a provider, where
// nobody can be asked to correct it. White space becomes blanks, and an unfit character
// is written out, as \u202e, so that the rest stays readable.
func NameFrom(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\ufffd") {
		switch {
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case !unfit(r):
			b.WriteRune(r)
		case r <= 0xff:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	name := []rune(strings.TrimFunc(b.String(), blank))
	clean, _ := CleanName(string(name[:min(len(name), maxName)]))
	return clean
}

// unfit reports whether a character is forbidden in names: controls, characters
// that break the line or change its direction, and invisible ones. U+200C and
// U+200D are invisible too, but without them Persian, the languages of India, and
// families of emoji can't be written.
func unfit(r rune) bool {
	switch r {
	case '\u200c', '\u200d':
		return false
	case '\u2028', '\u2029':
		return true
	}
	return unicode.IsControl(r) ||
		unicode.Is(unicode.Cf, r) && !unicode.Is(unicode.Prepended_Concatenation_Mark, r)
}

func blank(r rune) bool { return unicode.Is(unicode.Zs, r) }

// visible reports whether the character is drawn, even on its own.
func visible(r rune) bool {
	return !blank(r) && r != '\u200c' && r != '\u200d' &&
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}
