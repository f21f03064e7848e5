// Package must ends a test when a step that prepares it fails. It imports no other package
// of Gatehouse, so that all tests can use it.
//
//	id := must.Get(s.FindToken("01abcdef"))(t)
//	must.Do(t, s.Close())
package must

import (
	"iter"
	"testing"
	"time"
)

// Do ends the test if err is not nil.
func Do(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Get returns a function that ends the test if err is not nil, and otherwise returns v. The
// test comes last because Go passes two results on only if they are the only arguments.
func Get[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		Do(t, err)
		return v
	}
}

// Get2 is [Get] for functions that return two values and an error.
func Get2[T, U any](v T, w U, err error) func(testing.TB) (T, U) {
	return func(t testing.TB) (T, U) {
		t.Helper()
		Do(t, err)
		return v, w
	}
}

// All returns a function that ends the test at the first error of a sequence, and otherwise
// yields its values.
func All[T any](seq iter.Seq2[T, error]) func(testing.TB) iter.Seq[T] {
	return func(t testing.TB) iter.Seq[T] {
		return func(yield func(T) bool) {
			t.Helper()
			for v, err := range seq {
				if Do(t, err); !yield(v) {
					return
				}
			}
		}
	}
}

// Happen ends the test if the condition is not met within five minutes. A test waits as long
// as that because the machine may be busy; it never fails by the clock.
func Happen(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within five minutes", what)
		}
	}
}
