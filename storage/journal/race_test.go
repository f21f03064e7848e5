//go:build race

package journal_test

// stride thins out what is exhaustive without the race detector, which slows it
// tenfold and has no concurrency to find there.
const stride = 13
