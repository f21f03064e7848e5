package recheck

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"

	"gatehouse/storage/grants"
)

// few is how many answers in a row may be lost. Then a sweep asks nobody else: each lost answer
// may have spent a refresh token.
const few = 5

var errMute = errors.New("the provider does not answer, and so the others are not asked")

// patience decides who may be asked in one sweep. The first question, and each after a lost
// answer, is asked alone, until there is an answer. So a provider that hangs loses a handful
// of answers and not everybody's.
type patience struct {
	most int // that may be lost in a row

	mu       sync.Mutex
	changed  *sync.Cond
	busy     int // people who are being looked at
	alone    bool
	lost     int // in a row
	answered bool
}

func newPatience(most int) *patience {
	p := &patience{most: most, alone: true}
	p.changed = sync.NewCond(&p.mu)
	return p
}

// begin waits until the next person may be looked at.
func (p *patience) begin() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.alone && p.busy > 0 {
		p.changed.Wait()
	}
	p.busy++
}

// end notes that the person whom begin let through has been looked at.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy--
	p.changed.Broadcast()
}

// over returns errMute if nobody else may be asked.
func (p *patience) over() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lost >= p.most {
		return errMute
	}
	return nil
}

// asked notes whether an answer was lost.
func (p *patience) asked(lost bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alone = lost
	if lost {
		p.lost++
	} else {
		p.lost, p.answered = 0, true
	}
}

// order begins a sweep. It returns the subjects in the order in which they are asked. Those
// whose last answer was lost come first, because another question about them risks nothing.
// There are only a few of them at the front: a provider may be unable to answer about just
// these. The others are in a random order, for the same reason. While a provider stays
// mute, one of them is asked only in the first, second, fourth, eighth sweep, and so on.
func (p *People) order(subjects []string) ([]string, *patience) {
	var lost []grants.Grant
	front := map[string]bool{}
	for _, subject := range subjects {
		if g, ok, err := p.get(subject); err == nil && ok && g.Sent && g.Usable() && g.Left == "" {
			lost = append(lost, g)
			front[subject] = true
		}
	}
	slices.SortFunc(lost, func(a, b grants.Grant) int { return cmp.Compare(a.Asked, b.Asked) })
	first := make([]string, 0, len(subjects))
	var last []string
	for i, g := range lost {
		if i < few-1 {
			first = append(first, g.Identity.Subject)
		} else {
			last = append(last, g.Identity.Subject)
		}
	}
	most := few
	p.mu.Lock()
	if len(first) == few-1 && p.mute&(p.mute-1) != 0 {
		most = few - 1
	}
	p.mu.Unlock()
	for _, n := range rand.Perm(len(subjects)) {
		if !front[subjects[n]] {
			first = append(first, subjects[n])
		}
	}
	return append(first, last...), newPatience(most)
}

// judge notes whether a provider has answered at all in a sweep.
func (p *People) judge(turn *patience) {
	turn.mu.Lock()
	answered, mute := turn.answered, turn.lost >= turn.most
	turn.mu.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case answered:
		p.mute = 0
	case mute:
		p.mute++
	}
}
