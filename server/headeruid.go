package server

import "strings"

// headerUID writes a uid for the header X-Auth-User. An address may have characters
// that an application could take for the end of a value, for a second value or for
// quotes, and bytes beyond ASCII, which HTTP leaves open (RFC 9110, section 5.5). These
// are percent-encoded, the percent sign too, so that decoding gives the uid and nothing
// else. Addresses as they usually are contain none of them and stay as they are.
func headerUID(uid string) string {
	odd := 0
	for i := range len(uid) {
		if !inHeader[uid[i]] {
			odd++
		}
	}
	if odd == 0 {
		return uid
	}
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(uid) + 2*odd)
	for i := range len(uid) {
		if c := uid[i]; inHeader[c] {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// inHeader contains the bytes that stay: letters, digits, and the other characters of an
// address that have no meaning in a header's value or in a proxy's configuration.
var inHeader = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@.!#$&'*+-/=?_~") {
		set[c] = true
	}
	return set
}()
