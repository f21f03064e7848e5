// Package disk owns what the other packages of the store need of a disk and of the data
// directory on it: files that are whole or not there, the lock that one process holds, the
// owner of the directory, the free space, the ballast that is kept for opening a store on
// a full disk, and the kinds of errors that come from all of this.
//
// It knows nothing about the contents of the files. It never retries what failed, and
// never decides what a full or failing disk means for a change.
package disk
