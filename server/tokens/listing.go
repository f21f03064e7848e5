package tokens

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/listen"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// A user may hold any number of tokens. A list of them is read, encoded and sent in
// parts, each in its turn (guard.Turns). So it takes no more memory than a part does, and
// no more of the processors than the turns do. A client that reads slowly holds a buffer,
// but no turn.

// PartTokens is how many tokens a part has: it takes less than a millisecond.
const PartTokens = 64

// documented serves GET /api/getApiTokens. Each token is shown in full,
// but not to a credential that may do less: a weak token can't fetch a strong one. One that
// speaks for a provider by SCIM can do what no other token can.
func (ts *Tokens) documented(w http.ResponseWriter, r *route.Request) error {
	return ts.sendTokens(w, r, r.User.ID, ts.documentedView(r))
}

func (ts *Tokens) documentedView(r *route.Request) func(storage.Token) any {
	reveal := ts.Config().Tokens.Reveal
	return func(t storage.Token) any {
		secret := ts.Store.Reveal(t).Reveal()
		own := r.Token != nil && r.Token.ID == t.ID
		if !reveal || (r.Limited() || config.IsSCIM(t.Scopes)) && !own {
			secret = secret[:min(8, len(secret))] + "…"
		}
		return api.DocumentedToken{Token: ts.view.Token(t, r.User.UID), APIToken: secret}
	}
}

func (ts *Tokens) list(w http.ResponseWriter, r *route.Request) error {
	return ts.sendTokens(w, r, r.User.ID, func(t storage.Token) any { return ts.view.Own(t, r.User.UID) })
}

// sendTokens sends the tokens of a user as a JSON array, the oldest first, in the turns of
// the caller. Once a part is sent, an error can only cut the reply off.
func (ts *Tokens) sendTokens(w http.ResponseWriter, r *route.Request, owner storage.UserID, view func(storage.Token) any) error {
	b := partBuffers.Get().(*bytes.Buffer)
	defer partBuffers.Put(b)
	deadline := http.NewResponseController(w)
	q := storage.Owned{Owner: owner, Limit: PartTokens}
	for first := true; ; first = false {
		next, err := ts.encodePart(r, b, q, view)
		if err != nil {
			return err
		}
		last := next == (storage.Cursor{})
		if first {
			h := w.Header()
			h.Set("Content-Type", "application/json")
			h.Set("X-Content-Type-Options", "nosniff")
			if last {
				h.Set("Content-Length", strconv.Itoa(b.Len()))
			}
		} else {
			// Each part has as much time as a short reply. In a test it may be impossible
			// to set a deadline.
			_ = deadline.SetWriteDeadline(time.Now().Add(listen.WriteTimeout))
		}
		if _, err := w.Write(b.Bytes()); err != nil {
			return fmt.Errorf("%w: %w", context.Canceled, err) // the client went away
		}
		if last || r.Method == http.MethodHead {
			return nil
		}
		q.After = next
	}
}

// partBuffers keeps the buffers of parts.
var partBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// encodePart reads and encodes a part of a list in the caller's turn.
func (ts *Tokens) encodePart(r *route.Request, b *bytes.Buffer, q storage.Owned, view func(storage.Token) any) (next storage.Cursor, err error) {
	give, err := ts.Turns.Take(r.Context(), r.User.ID)
	if err != nil {
		return next, err
	}
	defer give()
	return ts.encode(b, q, view)
}

// encode writes into b a part of a list, with the bracket that is before its first or
// after its last token.
func (ts *Tokens) encode(b *bytes.Buffer, q storage.Owned, view func(storage.Token) any) (next storage.Cursor, err error) {
	list, next, err := ts.Store.Page(q)
	if err != nil {
		return next, err
	}
	b.Reset()
	between := byte(',')
	if (q.After == storage.Cursor{}) {
		between = '['
	}
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for _, t := range list {
		b.WriteByte(between)
		if err := enc.Encode(view(t)); err != nil {
			return next, err
		}
		b.Truncate(b.Len() - 1) // the newline
		between = ','
	}
	if (next == storage.Cursor{}) {
		if b.Len() == 0 && (q.After == storage.Cursor{}) {
			b.WriteByte('[')
		}
		b.WriteString("]\n")
	}
	return next, nil
}
