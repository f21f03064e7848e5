package text

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// UTF8 reports whether the terminal of a process with this environment takes UTF-8, as
// locale(7) says. If no variable says anything, it is true: nearly every terminal takes
// UTF-8, and in containers the variables are often missing.
func UTF8(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// drawn are the characters that the screens draw with, each beside what stands for it
// in ASCII.
var drawn = strings.NewReplacer(
	"─", "-", "│", "|", "┌", "+", "┐", "+", "└", "+", "┘", "+", "┃", "#", "·", "-", "…", "~", "↑", "^", "↓", "v", "µ", "u",
	"▁", "_", "▂", ".", "▃", ":", "▄", "-", "▅", "=", "▆", "+", "▇", "*", "█", "#",
)

// ASCII returns a frame for a terminal that takes only ASCII, with as many columns. A
// letter of another script becomes a question mark.
func ASCII(frame string) string {
	frame = drawn.Replace(frame)
	if !strings.ContainsFunc(frame, beyond) {
		return frame
	}
	var b strings.Builder
	for state := byte(0); frame != ""; {
		seq, width, n, next := ansi.DecodeSequence(frame, state, nil)
		if strings.ContainsFunc(seq, beyond) {
			seq = strings.Repeat("?", width)
		}
		b.WriteString(seq)
		frame, state = frame[n:], next
	}
	return b.String()
}

func beyond(r rune) bool { return r > '~' }
