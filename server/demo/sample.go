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

// Explain prints lines to paste into a shell: a token, and calls that it works for.
func Explain(w io.Writer, url string, token storage.Secret) {
	fmt.Fprintf(w, "TOKEN=%s\n", token.Reveal())
	for _, path := range []string{"getApiTokens", "token", "revokeApiToken"} {
		fmt.Fprintf(w, "curl -H \"X-Auth-Token: $TOKEN\" %s/api/%s\n", url, path)
	}
}
