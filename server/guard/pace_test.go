package guard

import (
	"testing"
	"time"
)

// TestPace: a refusal takes as long as a check.
func TestPace(t *testing.T) {
	var p pace
	p.note(20 * time.Millisecond)
	begun := time.Now()
	p.wait(t.Context(), begun)
	if took := time.Since(begun); took < 20*time.Millisecond {
		t.Errorf("it took %v, want 20ms", took)
	}
	p.note(time.Hour)
	p.wait(t.Context(), begun.Add(-longestPace)) // returns at once, because longestPace bounds the wait
}
