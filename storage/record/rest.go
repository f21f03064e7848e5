package record

import (
	"bytes"
	"net/netip"
	"strconv"
	"unicode/utf8"
)

// parseRest decodes the JSON of a token's record in the form in which [Token.Value] writes
// it. It returns false for any other JSON, such as a text with an escaped character: then
// encoding/json decides. It is several times as fast as that, and a search for a text in a
// million tokens reads a million records.
func (t *Token) parseRest(b []byte) bool {
	c := restCutter{rest: b}
	for c.take('{'); !c.failed; c.take(',') {
		name := c.text()
		c.take(':')
		switch string(name) {
		case "lastUsed":
			t.LastUsed = c.number()
		case "from":
			t.From = string(c.text())
		case "order":
			n := c.number()
			t.Order, c.failed = uint16(n), c.failed || n != int64(uint16(n))
		case "overlap":
			t.Overlap = c.number()
		case "name":
			t.Name = string(c.text())
		case "by":
			t.By = string(c.text())
		case "scopes":
			t.Scopes = nil
			c.list(func(s string) { t.Scopes = append(t.Scopes, s) })
		case "addresses":
			t.Addresses = nil
			c.list(func(s string) {
				p, err := netip.ParsePrefix(s)
				t.Addresses, c.failed = append(t.Addresses, p), c.failed || err != nil
			})
		default:
			return false
		}
		if string(c.rest) == "}" {
			return !c.failed
		}
	}
	return false
}

// restCutter cuts JSON into pieces, from the front. It fails at what is not as expected.
type restCutter struct {
	rest   []byte
	failed bool
}

func (c *restCutter) fail() { c.rest, c.failed = nil, true }

func (c *restCutter) is(char byte) bool { return len(c.rest) > 0 && c.rest[0] == char }

func (c *restCutter) take(char byte) {
	if !c.is(char) {
		c.fail()
		return
	}
	c.rest = c.rest[1:]
}

// text cuts off a text without escaped characters.
func (c *restCutter) text() []byte {
	c.take('"')
	n := max(0, bytes.IndexByte(c.rest, '"'))
	text := c.rest[:n]
	c.rest = c.rest[n:]
	c.take('"')
	ascii := true
	for _, char := range text {
		if char == '\\' || char < ' ' {
			c.fail()
		}
		ascii = ascii && char < utf8.RuneSelf
	}
	if !ascii && !utf8.Valid(text) {
		c.fail()
	}
	return text
}

func (c *restCutter) list(add func(string)) {
	for c.take('['); !c.failed; c.take(',') {
		add(string(c.text()))
		if c.is(']') {
			c.take(']')
			return
		}
	}
}

func (c *restCutter) number() int64 {
	n := 0
	for n < len(c.rest) && (c.rest[n] == '-' || '0' <= c.rest[n] && c.rest[n] <= '9') {
		n++
	}
	text := string(c.rest[:n])
	v, err := strconv.ParseInt(text, 10, 64)
	if c.rest = c.rest[n:]; err != nil || n > 1 && (text[0] == '0' || text[:2] == "-0") { // not JSON
		c.fail()
	}
	return v
}
