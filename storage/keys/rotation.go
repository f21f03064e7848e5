package keys

import (
	"errors"
	"maps"
)

// ErrFull means that every number of a token key is taken.
var ErrFull = errors.New("all 255 token keys are in use: revoke the tokens of old ones, and they are dropped")

// Rotated returns the keyring with another token key, which new tokens use from now on, in
// ms. If ends is not 0, the tokens of all other keys end then, or earlier. It returns
// ErrFull if no number is free.
func (r Ring) Rotated(now, ends int64) (Ring, error) {
	r = r.clone()
	number := r.Current + 1
	for ; ; number++ {
		if _, taken := r.Tokens[number]; !taken && number != 0 {
			break
		}
		if number == r.Current {
			return r, ErrFull
		}
	}
	for old := range r.Tokens {
		r.end(old, ends)
	}
	r.Current, r.Tokens[number], r.Made[number] = number, newRing().Tokens[1], now
	r.Rotations++
	return r, nil
}

// Without returns the keyring without the token keys of these numbers, except the current
// one. Their tokens are dead.
func (r Ring) Without(numbers ...byte) Ring {
	r = r.clone()
	for _, n := range numbers {
		if n != r.Current {
			delete(r.Tokens, n)
			delete(r.Made, n)
			delete(r.Ends, n)
		}
	}
	return r
}

// Restored returns the keyring for the tokens of a backup that has the keyring r, in the
// place of a store that had another keyring of the same installation. A key ends when
// either says so. If the store had a newer current key than the backup, that one stays
// current.
func (r Ring) Restored(store Ring) Ring {
	r = r.clone()
	current := store.Tokens[store.Current]
	if k, taken := r.Tokens[store.Current]; store.Rotations > r.Rotations && (!taken || k == current) {
		r.Current, r.Rotations, r.Tokens[store.Current] = store.Current, store.Rotations, current
		if at := store.Made[store.Current]; at != 0 {
			r.Made[r.Current] = at
		}
	}
	for number, k := range store.Tokens {
		if r.Tokens[number] == k {
			r.end(number, store.Ends[number])
		}
	}
	return r
}

// end makes the tokens of a key end at a time, in ms, unless they end earlier or the time
// is 0.
func (r Ring) end(number byte, at int64) {
	if is := r.Ends[number]; at != 0 && (is == 0 || at < is) {
		r.Ends[number] = at
	}
}

// clone returns a copy that shares nothing with r.
func (r Ring) clone() Ring {
	r.Tokens, r.Made, r.Ends = maps.Clone(r.Tokens), maps.Clone(r.Made), maps.Clone(r.Ends)
	if r.Made == nil {
		r.Made = map[byte]int64{}
	}
	if r.Ends == nil {
		r.Ends = map[byte]int64{}
	}
	return r
}
