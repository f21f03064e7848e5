// Package text makes what strangers wrote (names, addresses, messages of other
// servers) safe for a terminal: afterwards it can't move the cursor, turn the
// direction of the line, hide, or push the columns beside it out of place.
//
// It also lays text out by its width: in columns, and as facts, a name and a value a
// line; edits a line that is typed; and finds texts by what is typed. It never knows users,
// tokens or screens.
package text

import (
	"bytes"
	"encoding/json"
	"fmt"
	"gatehouse/server/legible"
	"unicode/utf8"
)

// Escape returns s with every character that a terminal would obey, hide or measure at
// its own discretion written out: see [legible.Apart].
func Escape(s string) string { return legible.Apart(s) }

// JSON returns v as one line of JSON in which nothing but letters, marks,
// numbers, punctuation and symbols stands unescaped, so that it can be shown
// on a terminal as it is. It reads back as the same value.
func JSON(v any) ([]byte, error) {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	line := bytes.TrimSuffix(raw.Bytes(), []byte("\n"))
	out := make([]byte, 0, len(line))
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		switch {
		case !legible.Hidden(r):
			out = append(out, line[i:i+n]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out, nil
}
