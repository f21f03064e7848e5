// Package record is how the store's data are written: what each kind of record
// contains, and its bytes. It reads and writes no file, seals nothing, and decides
// nothing.
package record
