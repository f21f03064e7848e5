package demo

import (
	"fmt"
	"io"
	"strings"

	"gatehouse/storage"
)

// WriteSample writes tokens to a file of mode 0600, one a line.
func WriteSample(file string, secrets []storage.Secret) error {
	var b strings.Builder
	for _, s := range secrets {
		b.WriteString(s.Reveal())
		b.WriteByte('\n')
	}
	if err := storage.WriteFile(file, []byte(b.String())); err != nil {
		return fmt.Errorf("write the sample: %w", err)
	}
	return nil
}

// Explain prints calls that a token works for, the last of which ends it. Each
// line holds the token itself, so that it works in any shell, alone or not.
func Explain(w io.Writer, url string, token storage.Secret) {
	for _, path := range []string{"getApiTokens", "token", "revokeApiToken"} {
		fmt.Fprintf(w, "curl -H 'X-Auth-Token: %s' %s/api/%s\n", token.Reveal(), url, path)
	}
}
