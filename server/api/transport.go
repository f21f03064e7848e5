package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
)

func userPath(uid string) string { return "/admin/users/" + url.PathEscape(uid) }

func set(v url.Values, name, value string) {
	if value != "" {
		v.Set(name, value)
	}
}

func setNumber(v url.Values, name string, n uint64) {
	if n > 0 {
		v.Set(name, strconv.FormatUint(n, 10))
	}
}

func setFlag(v url.Values, name string, on bool) {
	if on {
		v.Set(name, "true")
	}
}

func setPage(v url.Values, o Order, reverse bool, after string, limit int) {
	set(v, "order", string(o))
	setFlag(v, "reverse", reverse)
	set(v, "after", after)
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
}

// call sends in (unless nil) as JSON and reads the reply into out (unless nil).
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	resp, err := c.send(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read the server's reply: %w", err)
	}
	return nil
}

// ask sends in (unless nil) as JSON and returns the reply.
func ask[T any](ctx context.Context, c *Client, method, path string, in any) (out T, err error) {
	err = c.call(ctx, method, path, in, &out)
	return out, err
}

// stream reads a listing, one JSON object a line, as the caller asks for it.
// A last line with the key "error" says that the server had to stop.
func stream[T any](ctx context.Context, c *Client, method, path string, in any) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		resp, err := c.send(ctx, method, path, in)
		if err != nil {
			yield(zero, err)
			return
		}
		defer resp.Body.Close()
		dec := json.NewDecoder(resp.Body)
		for {
			var line struct {
				Row   T      `json:"row"`
				Error string `json:"error"`
			}
			switch err := dec.Decode(&line); {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(zero, fmt.Errorf("read the server's reply: %w", err))
				return
			case line.Error != "":
				yield(zero, &Error{Status: http.StatusInternalServerError, Message: line.Error})
				return
			}
			if !yield(line.Row, nil) {
				return
			}
		}
	}
}

// replaced finds what package json writes for a byte that is not UTF-8, and would change a
// name without a word. It writes a U+FFFD that is in the text as it is.
var replaced = regexp.MustCompile(`(^|[^\\])(\\\\)*\\ufffd`)

var errNotUTF8 = &Error{Status: http.StatusBadRequest, Message: "What you typed is not UTF-8: set the terminal to UTF-8"}

// send makes the request, with in (unless nil) as JSON, and turns a refusal into
// an *Error.
func (c *Client) send(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		if replaced.Match(b) {
			return nil, errNotUTF8
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://gatehouse"+path, body)
	if err != nil {
		return nil, err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(r)
	if err != nil {
		if ue := new(url.Error); errors.As(err, &ue) {
			err = ue.Err // "Get http://gatehouse/admin/…" says nothing to a person
		}
		return nil, err
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(e); err != nil || e.Message == "" {
		e.Message = fmt.Sprintf("the server answered %s", resp.Status)
	}
	if e.Message == NoRoute {
		e.Message = "The running server does not know this command: it is probably an older version, so restart it"
	}
	return nil, e
}
