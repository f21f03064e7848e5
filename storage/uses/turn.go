package uses

import "time"

// turn is the work since requests last had the processor. The zero turn never rests.
type turn struct {
	rests bool
	began time.Time
	done  time.Duration // of the work before that
}

const (
	// mostTurn is how long a request may have to wait for a turn. If uses were saved in
	// one piece, that would delay one request in thirty by two milliseconds.
	mostTurn = 50 * time.Microsecond
	// restTime is long enough for the runtime to look for requests that have come in.
	// It does not look when a goroutine only lets others run.
	restTime = 20 * time.Microsecond
)

func begin(rests bool) *turn { return &turn{rests: rests, began: time.Now()} }

// rest ends the turn if it was long enough, and begins the next one after a rest.
func (t *turn) rest() {
	if !t.rests || time.Since(t.began) < mostTurn {
		return
	}
	t.done = t.work()
	time.Sleep(restTime)
	t.began = time.Now()
}

// work returns how long all turns were.
func (t *turn) work() time.Duration { return t.done + time.Since(t.began) }
