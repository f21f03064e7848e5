package server_test

import (
	"context"
	"testing"

	"gatehouse/server"
)

// TestEnds: sweeps that have ended are not reported as broken off because requests took
// all the time.
func TestEnds(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	running, ended := make(chan struct{}), make(chan struct{})
	close(ended)
	for range 100 {
		if !server.Ends(over, ended) {
			t.Fatal("what has ended is said to be broken off")
		}
	}
	if server.Ends(over, running) {
		t.Error("what runs is said to have ended")
	}
	if !server.Ends(t.Context(), ended) {
		t.Error("what has ended is said to be broken off, with time left")
	}
}
