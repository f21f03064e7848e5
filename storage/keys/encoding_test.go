package keys

import (
	"encoding/json"
	"testing"

	"gatehouse/storage/storagetest/must"
)

// The file keyring has the form of this version. A change of the form needs the next
// version, and a program that reads both.
func TestEncoding(t *testing.T) {
	b := must.Get(json.Marshal(sealedRing{Version: 1, Nonce: []byte{2}, Sealed: []byte{3, 4}, CRC: 5}))(t)
	if got, want := string(b), `{"version":1,"nonce":"Ag==","sealed":"AwQ=","crc32c":5}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
