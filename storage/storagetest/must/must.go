// Package must ends a test when a step that prepares it fails. It imports no other package
// of Gatehouse, so that all tests can use it.
//
//	id := must.Get(s.FindToken("01abcdef"))(t)
//	must.Do(t, s.Close())
package must

import "testing"

// Do ends the test if err is not nil.
func Do(t testing.TB, err error) {
	if err != nil {
		t.Helper()
		t.Fatal(err)
	}
}

// Get returns a function that ends the test if err is not nil, and otherwise returns v. The
// test comes last because Go passes two results on only if they are the only arguments.
func Get[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
		return v
	}
}

// Get2 is [Get] for functions that return two values and an error.
func Get2[T, U any](v T, w U, err error) func(testing.TB) (T, U) {
	return func(t testing.TB) (T, U) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
		return v, w
	}
}
