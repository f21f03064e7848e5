package target

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const webhookTime = 10 * time.Second

// SignatureHeader has the HMAC of the body.
const SignatureHeader = "X-Gatehouse-Signature"

// Webhook is a URL that each notice is posted to.
type Webhook struct {
	url    string
	secret []byte
	client *http.Client
}

// CheckWebhook returns an error unless the text is a URL that notices may be posted to:
// https, or http on this host.
func CheckWebhook(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New("is not a URL such as https://hooks.example.com/gatehouse")
	case u.Scheme == "http" && !Loopback(u.Hostname()):
		return errors.New("notices must not cross the network in the clear: write an https:// URL")
	}
	return nil
}

// Loopback reports whether a host is this one.
func Loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.Unmap().IsLoopback()
}

// NewWebhook returns the webhook of a URL that CheckWebhook accepts. If the secret is
// empty, nothing is signed.
func NewWebhook(url, secret string) *Webhook {
	return &Webhook{url: url, secret: []byte(secret), client: &http.Client{
		Timeout: webhookTime,
		// The secret is shared with this URL and no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: webhookTime}).DialContext,
			TLSHandshakeTimeout: webhookTime, MaxIdleConnsPerHost: 4, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true,
		},
	}}
}

// Name implements [Target].
func (h *Webhook) Name() string { return NameWebhook }

// Close implements [Target].
func (h *Webhook) Close() { h.client.CloseIdleConnections() }

// Sign returns the signature of a body, as the header has it.
func Sign(secret, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// Deliver posts the JSON. A status from 200 to 299 says that it is taken.
func (h *Webhook) Deliver(ctx context.Context, m Message) (answer string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(m.JSON))
	if err != nil {
		return "", errors.New("the URL can't be used") // the error has the URL, which may be a secret
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Gatehouse")
	r.Header.Set("Idempotency-Key", m.ID)
	if len(h.secret) > 0 {
		r.Header.Set(SignatureHeader, Sign(h.secret, m.JSON))
	}
	resp, err := h.client.Do(r)
	inURL, ok := errors.AsType[*url.Error](err)
	if ok {
		err = inURL.Err
	}
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	start, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	answer = strings.TrimSpace(resp.Status)
	if text := strings.TrimSpace(string(start)); text != "" {
		answer += ": " + text
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return answer, nil
	}
	return "", fmt.Errorf("it answered %s", answer)
}
