package tokens

import (
	"errors"
	"net/http"

	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
	"gatehouse/storage"
)

func (ts *Tokens) createToken(w http.ResponseWriter, r *route.Request) error {
	var o Options
	if err := body.OptionalJSON(r.Request, &o); err != nil {
		return err
	}
	spec, warning, err := Spec(ts.Config().Tokens, o)
	if err != nil {
		return err
	}
	return ts.handOut(w, r, spec, warning)
}

// createTokenByGet serves GET /api/createApiToken. It changes something although it
// is a GET, so it must be a person or a script that asks, not a prefetching browser
// or another site.
func (ts *Tokens) createTokenByGet(w http.ResponseWriter, r *route.Request) error {
	if route.AheadOfNeed(r.Request) {
		return reply.Refuse(http.StatusForbidden, "A prefetch can't make a token")
	}
	if route.FromElsewhere(r.Request, ts.Origins) {
		return reply.ErrOrigin
	}
	// Over plain http browsers do not say what led them here, and they send a
	// cookie that is Lax along with every link. A script follows no links.
	if route.ByProvider(r.Session.Method) && r.Header.Get("Sec-Fetch-Site") == "" && route.WantsPage(r.Request) {
		return reply.Refuse(http.StatusForbidden, "Without https, make a token on the page at / instead")
	}
	return ts.handOut(w, r, DefaultSpec(ts.Config().Tokens), "")
}

// handOut creates a token and replies with its secret.
func (ts *Tokens) handOut(w http.ResponseWriter, r *route.Request, spec storage.TokenSpec, warning string) error {
	t, secret, err := ts.Make(r, r.User, spec)
	if err != nil {
		return reply.UnlessGone(err, reply.ErrCredentials)
	}
	made := view.NewToken(t, r.User.UID, secret)
	made.Warning = warning
	return reply.OK(w, made, nil)
}

// errSCIM refuses what would give a user a token that can stop other users.
var errSCIM = reply.Refuse(http.StatusForbidden, "Only an administrator makes and rotates a token with the scope %s", config.SCIMScopeOf("…"))

// Make creates a token for a user, as one of the changes that the user may
// make in an hour.
func (ts *Tokens) Make(r *route.Request, user route.Principal, spec storage.TokenSpec) (t storage.Token, secret storage.Secret, err error) {
	if config.IsSCIM(spec.Scopes) {
		return t, "", errSCIM
	}
	err = ts.Changes.Spend(user.ID, func() error {
		t, secret, err = ts.Store.CreateToken(r.ActorOf(user.UID), user.ID, spec)
		return err
	})
	return t, secret, err
}

func (ts *Tokens) thisToken(w http.ResponseWriter, r *route.Request) error {
	t, err := ts.Store.Token(r.Token.ID)
	if err != nil {
		return err
	}
	return reply.OK(w, ts.view.Own(t, r.User.UID), nil)
}

// revokeSent serves GET /api/revokeApiToken. The holder of a token may revoke
// it, and learns nothing by it: the answer is the same for every text. If
// the request brings several, all are revoked.
func (ts *Tokens) revokeSent(w http.ResponseWriter, r *route.Request) error {
	return reply.OK(w, struct{}{}, ts.revokeTexts(r, route.TokensOf(r.Request)...))
}

// revokeTexts revokes those of the texts that are tokens.
func (ts *Tokens) revokeTexts(r *route.Request, texts ...string) error {
	var ids []storage.ID
	for _, text := range texts {
		id, generation, ok := ts.Store.Identify(text)
		if !ok {
			continue
		}
		t, err := ts.Store.Token(id)
		if err != nil && !errors.Is(err, storage.ErrNoToken) {
			return err
		}
		if err == nil && t.Revoked == 0 && t.Accepts(generation, ts.Now().UnixMilli()) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	by := storage.Actor{Name: "its holder", Address: ipaddr.Text(r.From)}
	_, err := ts.Revoke(by, ids...)
	return err
}

// OwnIn returns the token with the id in the path, if it is the caller's and not revoked.
// With a session, the tokens of service accounts that the caller owns now are the
// caller's too.
func (ts *Tokens) OwnIn(r *route.Request) (t storage.Token, err error) {
	id, err := storage.ParseID(r.PathValue("id"))
	if err != nil {
		return t, storage.ErrNoToken
	}
	t, err = ts.Store.Token(id)
	if err == nil && t.Revoked != 0 {
		err = storage.ErrNoToken
	}
	if err == nil {
		err = ts.checkOwn(r, t)
	}
	if err != nil {
		return storage.Token{}, err
	}
	return t, nil
}

// checkOwn returns storage.ErrNoToken unless a token is the caller's now: see OwnIn.
func (ts *Tokens) checkOwn(r *route.Request, t storage.Token) error {
	if t.Owner == r.User.ID {
		return nil
	}
	if r.Session == nil {
		return storage.ErrNoToken
	}
	owner, err := ts.Store.ServiceOwner(t.Owner)
	if err == nil && owner != r.User.ID {
		err = storage.ErrNoToken
	}
	return err
}

func (ts *Tokens) renameToken(w http.ResponseWriter, r *route.Request) error {
	var in struct {
		Name *string `json:"name"`
	}
	if err := body.JSON(r.Request, &in); err != nil {
		return err
	}
	if in.Name == nil {
		return reply.Refuse(http.StatusBadRequest, `The field "name" is missing`)
	}
	t, err := ts.OwnIn(r)
	if err != nil {
		return err
	}
	return reply.NoContent(w, ts.Rename(r, t.ID, *in.Name))
}

// Rename gives a token of the caller's another name.
func (ts *Tokens) Rename(r *route.Request, id storage.ID, name string) error {
	return ts.Changes.Spend(r.User.ID, func() error { return ts.Store.RenameToken(r.Actor(), id, name) })
}

// revokeToken serves DELETE /api/token/{id}. A token with scopes may revoke
// itself and no other.
func (ts *Tokens) revokeToken(w http.ResponseWriter, r *route.Request) error {
	t, err := ts.OwnIn(r)
	if err != nil {
		return err
	}
	if len(r.Scopes()) > 0 && r.Token.ID != t.ID {
		return reply.Refuse(http.StatusForbidden, "A token with scopes may revoke only itself")
	}
	_, err = ts.Revoke(r.Actor(), t.ID)
	return reply.NoContent(w, err)
}

// Revoke revokes tokens, and counts them.
func (ts *Tokens) Revoke(by storage.Actor, ids ...storage.ID) (int, error) {
	n, err := ts.Store.RevokeTokens(by, ids...)
	ts.Revoked(n)
	return n, err
}
