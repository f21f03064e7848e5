package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"gatehouse/storage/keys"
)

// FormError is a record that verifies but that this program can't read.
type FormError struct {
	Key []byte
	Err error
}

func (e *FormError) Error() string {
	return fmt.Sprintf("the record %q has an unknown form (%v)", e.Key, e.Err)
}

// Parsed are the kinds that [Check] reads.
const Parsed = SealedKinds + "s"

// keyLengths has the key length of each kind that uses only one length.
var keyLengths = map[byte]int{'u': 9, 't': 1 + keys.IDSize, 'l': 1 + keys.IDSize}

// Check returns a *FormError if this program can't read a record of one of the kinds in
// [Parsed].
func Check(k, v []byte) (err error) {
	if n := keyLengths[k[0]]; n != 0 && n != len(k) {
		return &FormError{bytes.Clone(k), errKeyLength}
	}
	switch k[0] {
	case 'u':
		_, err = ParseUser(DecodeUserID(k[1:]), v)
	case 't':
		_, err = ParseToken(keys.ID(k[1:]), v)
	case 'l':
		_, err = ParseUsage(v)
	case 's':
		err = json.Unmarshal(v, new(Session))
	case 'r':
		err = json.Unmarshal(v, new(File))
	case 'e':
		err = checkEnd(k, v)
	case 'x':
		_, err = ParseNotice(k, v)
	case 'k':
		_, err = ParseKnown(v)
	}
	if err != nil {
		return &FormError{bytes.Clone(k), err}
	}
	return nil
}

var errKeyLength = errors.New("its key has the wrong length")

// checkEnd checks the record of an end, of a token or of a user.
func checkEnd(k, v []byte) (err error) {
	switch len(k) {
	case 1 + keys.IDSize:
		_, err = ParseTokenEnd(v)
	case 1 + 8:
		_, err = ParseUserEnd(v)
	default:
		err = errKeyLength
	}
	return err
}
