package tui

import (
	"fmt"
	"strings"
)

// bars are the heights of a sparkline. Nothing at all is a dot, so that one
// can be told from nearly nothing.
var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws values as bars of one line, a column each, the latest at the
// right. More than fit are added up in groups, so that no peak is lost.
func spark[N int | int64](values []N, width int) string {
	if width <= 0 || len(values) == 0 {
		return ""
	}
	group := (len(values) + width - 1) / width
	var sums []N
	for end := len(values); end > 0; end -= group {
		sum := N(0)
		for _, v := range values[max(end-group, 0):end] {
			sum += v
		}
		sums = append(sums, sum)
	}
	most := N(1)
	for _, s := range sums {
		most = max(most, s)
	}
	var b strings.Builder
	for i := len(sums) - 1; i >= 0; i-- {
		if sums[i] <= 0 {
			b.WriteRune('.')
			continue
		}
		b.WriteRune(bars[int(float64(sums[i]-1)/float64(most)*float64(len(bars)))])
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
