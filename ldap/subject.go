package ldap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

var uuid = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)

// Subject returns typed text in the canonical form of Entry.Subject: a UUID in lower
// case, anything else as it is.
func Subject(text string) string {
	text = strings.TrimSpace(text)
	if uuid.MatchString(text) {
		return strings.ToLower(text)
	}
	return text
}

// subject returns the value of id_attribute in its canonical form. It must be a single
// value: which of two comes first could change from day to day.
func subject(attribute string, values [][]byte) (string, error) {
	switch {
	case len(values) == 0:
		return "", fmt.Errorf("%s is missing", attribute)
	case len(values) > 1:
		return "", fmt.Errorf("%s has %d values", attribute, len(values))
	case isGUID(attribute):
		return guidText(values[0])
	}
	text := string(values[0])
	switch {
	case text == "" || len(text) > 256 || !printable(text):
		return "", fmt.Errorf("%s is not readable text", attribute)
	case uuid.MatchString(text):
		return strings.ToLower(text), nil
	}
	return text, nil
}

// subjectFilter matches the entry with the subject text.
func subjectFilter(attribute, text string) (string, error) {
	switch {
	case isGUID(attribute):
		raw, err := guidBytes(text)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		for _, c := range raw {
			fmt.Fprintf(&b, `\%02x`, c)
		}
		return "(" + attribute + "=" + b.String() + ")", nil
	case text == "" || len(text) > 256 || !printable(text):
		return "", errors.New("not readable text")
	case strings.EqualFold(attribute, "entryUUID") && !uuid.MatchString(text):
		return "", errors.New("not a UUID")
	}
	return "(" + attribute + "=" + goldap.EscapeFilter(text) + ")", nil
}

func isGUID(attribute string) bool { return strings.EqualFold(attribute, "objectGUID") }

// guidOrder is the position of each byte of the written form in Active Directory's 16
// bytes: the first three groups are little-endian numbers.
var guidOrder = [16]int{3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15}

func guidText(raw []byte) (string, error) {
	if len(raw) != 16 {
		return "", fmt.Errorf("objectGUID has %d bytes instead of 16", len(raw))
	}
	var ordered [16]byte
	for i, at := range guidOrder {
		ordered[i] = raw[at]
	}
	h := hex.EncodeToString(ordered[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}

func guidBytes(text string) ([]byte, error) {
	if !uuid.MatchString(text) {
		return nil, errors.New("not a GUID")
	}
	ordered, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	if err != nil {
		return nil, err
	}
	raw := make([]byte, 16)
	for i, at := range guidOrder {
		raw[at] = ordered[i]
	}
	return raw, nil
}
