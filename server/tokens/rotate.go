package tokens

import (
	"net/http"
	"time"

	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
)

func (ts *Tokens) rotateToken(w http.ResponseWriter, r *route.Request) error {
	in := struct {
		Overlap string `json:"overlap"`
	}{DefaultOverlap}
	if err := body.OptionalJSON(r.Request, &in); err != nil {
		return err
	}
	overlap, err := ParseOverlap(in.Overlap)
	if err != nil {
		return err
	}
	t, err := ts.OwnIn(r)
	if err != nil {
		return err
	}
	t, secret, err := ts.Rotate(r, t, overlap)
	if err != nil {
		return err
	}
	return reply.OK(w, view.NewToken(t, ts.Store.UID(t.Owner), secret), nil)
}

// Rotate gives a token of the caller's a new secret. The old one works until the new one is
// first used, or until the overlap ends.
func (ts *Tokens) Rotate(r *route.Request, t storage.Token, overlap time.Duration) (storage.Token, storage.Secret, error) {
	if t.Expired(ts.Now().UnixMilli()) {
		return t, "", ErrExpired
	}
	if config.IsSCIM(t.Scopes) {
		return t, "", errSCIM // who owns the account, or knows its owner's password, need not be one
	}
	with := storage.ByUser
	if r.Token != nil {
		if r.Token.ID != t.ID {
			return t, "", reply.Refuse(http.StatusForbidden, "A token may rotate only itself")
		}
		with = int(r.Token.Generation)
	}
	var secret storage.Secret
	err := ts.Changes.Spend(r.User.ID, func() (err error) {
		t, secret, err = ts.Store.RotateToken(r.Actor(), t.ID, overlap, with)
		return err
	})
	if err == nil {
		// A service account may have got another owner since the caller was found to own
		// it. The caller must not get a secret that still works then.
		err = ts.checkOwn(r, t)
	}
	if err != nil {
		return storage.Token{}, "", err
	}
	return t, secret, nil
}
