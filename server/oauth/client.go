package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"gatehouse/server/textfile"
)

const (
	maxAnswer    = 1 << 20 // bytes of a body
	maxHeader    = 64 << 10
	maxAtOnce    = 16 // logins under way at one provider
	maxRedirects = 3
	maxError     = 300 // characters
)

// client talks to one provider, and remembers how that went.
type client struct {
	cfg    Config
	secret Secret
	http   *http.Client
	slots  chan struct{}

	mu     sync.Mutex
	status Status
}

// Status says how a provider has answered recently. It comes from logins: to read it
// sends nothing. Before the first login it is all zero.
type Status struct {
	Reachable   bool          // the last login was decided
	Latency     time.Duration // of the last answer
	LastSuccess time.Time
	LastFailure time.Time
	LastError   string // of the last failure, kept after a recovery
}

// Status reports how the provider has answered recently.
func (p *Provider) Status() Status {
	p.client.mu.Lock()
	defer p.client.mu.Unlock()
	return p.client.status
}

func newClient(cfg Config, secret Secret) *client {
	c := &client{cfg: cfg, secret: secret, slots: make(chan struct{}, maxAtOnce)}
	wire := http.DefaultTransport.(*http.Transport).Clone()
	wire.MaxResponseHeaderBytes = maxHeader
	wire.MaxConnsPerHost = maxAtOnce
	c.http = &http.Client{Transport: bounded{wire, c}, CheckRedirect: sameOrigin}
	return c
}

// sameOrigin refuses redirects to another origin: the token in the URL or the body
// would go there, and the answer would not be the provider's.
func sameOrigin(r *http.Request, via []*http.Request) error {
	from := via[0].URL
	if r.URL.Scheme != from.Scheme || !strings.EqualFold(r.URL.Host, from.Host) {
		return fmt.Errorf("%s://%s redirects to %s://%s, which is not followed", from.Scheme, from.Host, r.URL.Scheme, r.URL.Host)
	}
	if len(via) > maxRedirects {
		return errors.New("it redirects in circles")
	}
	return nil
}

// bounded is a transport that limits the size of answers, also for libraries that read
// them whole.
type bounded struct {
	next   http.RoundTripper
	client *client
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context()) // RoundTrip may not change what it is given
	r.Header.Set("User-Agent", "gatehouse")
	start := time.Now()
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < http.StatusInternalServerError {
		b.client.answered(time.Since(start))
	}
	// Some servers put a byte-order mark in front of JSON (RFC 8259, section 8.1).
	text := struct {
		io.Reader
		io.Closer
	}{textfile.Reader(resp.Body), resp.Body}
	resp.Body = &limitedBody{text, maxAnswer}
	return resp, nil
}

var errTooLarge = errors.New("its answer is larger than 1 MiB")

type limitedBody struct {
	io.ReadCloser
	left int
}

func (l *limitedBody) Read(b []byte) (int, error) {
	if len(b) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.ReadCloser.Read(b)
	if n > l.left {
		return l.left, errTooLarge
	}
	l.left -= n
	return n, err
}

// exchange runs do, which makes the requests of one login, within the time-out. It first
// waits until fewer than maxAtOnce others run. From the error it removes the secrets, to
// which do may add, and the client's own secret.
func (c *client) exchange(ctx context.Context, secrets *[]string, do func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-limited.Done():
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx.Err()
		}
		return fmt.Errorf("%w: %s: %d logins are already waiting", ErrUnavailable, c.cfg.Name, maxAtOnce)
	}
	err := do(context.WithValue(limited, oauth2.HTTPClient, c.http))
	if errors.Is(ctx.Err(), context.Canceled) && err != nil {
		return ctx.Err() // the client left, which says nothing of the provider
	}
	if limited.Err() != nil && err != nil {
		err = fmt.Errorf("it took longer than %s", c.cfg.Timeout)
	}
	return c.judge(err, append(*secrets, string(c.secret), c.basic()))
}

// judge turns an error into one of this package: a *Refusal, ErrNoCheck or
// ErrUnavailable.
func (c *client) judge(err error, secrets []string) error {
	if err == nil {
		return nil
	}
	why := scrub(reason(err), secrets)
	if r, ok := errors.AsType[*Refusal](err); ok {
		return &Refusal{why, scrub(r.Subject, secrets)}
	}
	if errors.Is(err, ErrNoCheck) {
		return ErrNoCheck
	}
	c.failed(why)
	return fmt.Errorf("%w: %s: %s", ErrUnavailable, c.cfg.Name, why)
}

// reason is the text of an error without the URL, which may have a token in it, and
// without the text of the answer.
func reason(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.Reason
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		host := "it"
		if parsed, e := url.Parse(u.URL); e == nil && parsed.Host != "" {
			host = parsed.Host
		}
		return host + " can't be asked: " + reason(u.Err)
	}
	return err.Error()
}

// scrub makes a safe line for the log from a text that may repeat what the provider was
// sent.
func scrub(text string, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, redacted)
			text = strings.ReplaceAll(text, url.QueryEscape(s), redacted)
		}
	}
	text = strings.ToValidUTF8(text, "�")
	text = strings.Map(func(r rune) rune {
		if plain(string(r)) {
			return r
		}
		return ' '
	}, text)
	if short := []rune(text); len(short) > maxError {
		text = string(short[:maxError]) + "…"
	}
	return text
}

// answered notes that the provider is there.
func (c *client) answered(took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Reachable, c.status.Latency, c.status.LastSuccess = true, took, c.cfg.Now()
}

// failed notes that a login could not be decided, even though the provider may have
// answered.
func (c *client) failed(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status.Reachable, c.status.LastFailure, c.status.LastError = false, c.cfg.Now(), why
}

// basic is the client's credentials as HTTP Basic has them. OAuth form-encodes
// the parts first (RFC 6749, section 2.3.1); GitHub and Gitea take them as they are.
func (c *client) basic() string {
	id, secret := c.cfg.ClientID, string(c.secret)
	if c.cfg.Type == OIDC {
		id, secret = url.QueryEscape(id), url.QueryEscape(secret)
	}
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(id, secret)
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Basic ")
}

// question is a request to a provider.
type question struct {
	method, url string
	bearer      string           // the person's token, or
	ours        oauth2.AuthStyle // where the client's own credentials go; 0: they are not sent
	form        url.Values       // of the two
	json        any              // bodies, one at most
	accept      string
}

// ask sends a question and decodes the answer into out. For the status 200 it must be
// JSON; any other status is the caller's to judge, and out may be filled in part.
func (c *client) ask(ctx context.Context, q question, out any) (*answer, error) {
	var body io.Reader
	mediaType := ""
	switch {
	case q.form != nil:
		if q.ours == oauth2.AuthStyleInParams {
			q.form.Set("client_id", c.cfg.ClientID)
			q.form.Set("client_secret", string(c.secret))
		}
		body, mediaType = strings.NewReader(q.form.Encode()), "application/x-www-form-urlencoded"
	case q.json != nil:
		b, err := json.Marshal(q.json)
		if err != nil {
			return nil, err
		}
		body, mediaType = bytes.NewReader(b), "application/json"
	}
	r, err := http.NewRequestWithContext(ctx, q.method, q.url, body)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json")
	if q.accept != "" {
		r.Header.Set("Accept", q.accept)
	}
	if mediaType != "" {
		r.Header.Set("Content-Type", mediaType)
	}
	switch {
	case q.bearer != "":
		r.Header.Set("Authorization", "Bearer "+q.bearer)
	case q.ours == oauth2.AuthStyleInHeader:
		r.Header.Set("Authorization", "Basic "+c.basic())
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.URL.Host, err)
	}
	if err := json.Unmarshal(b, out); err != nil && resp.StatusCode == http.StatusOK {
		return nil, fmt.Errorf("%s did not answer %s with the documented JSON", r.URL.Host, r.URL.Path)
	}
	a := &answer{Response: resp}
	if resp.StatusCode != http.StatusOK {
		_ = json.Unmarshal(b, &a.complaint) // what is not JSON says nothing
	}
	return a, nil
}

// get asks with a person's token. Only a 200 is not an error.
func (c *client) get(ctx context.Context, url, token string, out any) error {
	resp, err := c.ask(ctx, question{method: http.MethodGet, url: url, bearer: token}, out)
	if err != nil {
		return err
	}
	return resp.verdict()
}

// number reads an identifier that may come as a number or as a string.
type number string

func (n *number) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*n = number(text)
		return nil
	}
	i, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || i <= 0 {
		return errors.New("no identifier")
	}
	*n = number(strconv.FormatInt(i, 10))
	return nil
}

// truth reads a boolean that some providers send as a string. Anything but true and
// "true" is false.
type truth bool

func (t *truth) UnmarshalJSON(b []byte) error {
	*t = string(b) == "true" || string(b) == `"true"`
	return nil
}
