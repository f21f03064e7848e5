package oauth

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"unicode/utf16"

	"gatehouse/storage/storagetest/must"
)

// TestAnswerText: JSON with a byte-order mark means the same as without.
func TestAnswerText(t *testing.T) {
	const text = `{"sub":"ädä"}`
	wide := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		wide = binary.LittleEndian.AppendUint16(wide, unit)
	}
	for what, body := range map[string]string{"as it is": text, "a mark": "\ufeff" + text, "UTF-16": string(wide)} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, body) }))
		defer s.Close()
		p := must.Get(New(Config{Name: "corp", Type: Gitea, URL: s.URL, Insecure: true, ClientID: "client", ClientSecretFile: secretFile(t, "secret", 0o600)}))(t)
		var out struct{ Sub string }
		if _, err := p.client.ask(t.Context(), question{method: http.MethodGet, url: s.URL}, &out); err != nil || out.Sub != "ädä" {
			t.Errorf("%s: got %q, %v", what, out.Sub, err)
		}
	}
}
