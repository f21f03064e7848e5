//go:build race

package journal_test

// stride thins out tests that are exhaustive without the race detector. The
// race detector makes them ten times slower and has no concurrency to find
// there.
const stride = 13
