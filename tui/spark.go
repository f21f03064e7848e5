package tui

import (
	"fmt"
	"strings"
)

// bars are the heights of a sparkline. Nothing at all is a dot, so that one
// can be told from nearly nothing.
var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the latest values as bars of one line, a column each.
func spark[N int | int64](values []N, width int) string {
	values = values[max(len(values)-max(width, 0), 0):]
	most := N(1)
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		if v <= 0 {
			b.WriteRune('.')
			continue
		}
		b.WriteRune(bars[(int64(v)*int64(len(bars))-1)/int64(most)])
	}
	return b.String()
}

// usesADay draws what TokenDetail.Days has, and says it in numbers.
func usesADay(days []int64) string {
	sum := int64(0)
	for _, d := range days {
		sum += d
	}
	today := int64(0)
	if n := len(days); n > 0 {
		today = days[n-1]
	}
	return fmt.Sprintf("%s   %s in %d days, %s today", spark(days, len(days)), number(int(sum)), len(days), number(int(today)))
}
