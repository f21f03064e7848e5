package admin

import (
	"cmp"
	"errors"
	"net/http"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/storage"
)

func (a *Admin) createToken(w http.ResponseWriter, r *route.Request, req api.TokenRequest) error {
	spec, warning, err := tokens.Spec(a.Config().Tokens, tokens.Options{
		Name: req.Name, ExpiresIn: req.ExpiresIn, Scopes: req.Scopes, Addresses: req.Addresses,
	})
	if err != nil {
		return err
	}
	u, err := a.store.User(req.UID)
	if err != nil {
		return err
	}
	if u.State != storage.UserActive {
		return reply.Refuse(http.StatusConflict, "The user is not active: enable it first")
	}
	if err := a.checkSCIM(r, u, spec.Scopes); err != nil {
		return err
	}
	t, secret, err := a.store.CreateToken(r.Actor(), u.ID, spec)
	if err != nil {
		return err
	}
	made := view.NewToken(t, u.UID, secret)
	made.Warning = warning
	return reply.OK(w, made, nil)
}

// checkSCIM refuses a token that would speak for a provider by SCIM, unless it is a service
// account's, for a provider of the configuration. Its holder can make and remove users, so
// the caller must be one who may.
func (a *Admin) checkSCIM(r *route.Request, u storage.User, scopes []string) error {
	if !config.IsSCIM(scopes) {
		return nil
	}
	provider, err := config.SCIMScope(scopes)
	switch {
	case err != nil:
		return reply.Refuse(http.StatusBadRequest, "scopes: %v", err)
	case !u.IsService():
		return reply.Refuse(http.StatusBadRequest, "A token with the scope %s belongs to a service account: make one with `gatehouse service add`", config.SCIMScopeOf(provider))
	case a.Providers[provider] == nil:
		return reply.Refuse(http.StatusBadRequest, "scopes: the configuration has no section [oauth.%s]", provider)
	}
	return mayProvision(r)
}

// mayProvision refuses callers who may not make and remove users.
func mayProvision(r *route.Request) error {
	if !r.Role.Covers(api.Admin) {
		return reply.Refuse(http.StatusForbidden, "This needs the role %s: %s", api.Admin, api.Who{Actor: r.Peer, Role: r.Role})
	}
	return nil
}

const _ = uint(storage.MostRevoked - api.MostRevoked) // does not compile if clients send more

// revoke serves POST /admin/tokens/revoke. It finds all the tokens before it revokes any.
func (a *Admin) revoke(w http.ResponseWriter, r *route.Request, req api.Revocation) error {
	ids := make([]storage.ID, 0, len(req.IDs))
	for _, text := range req.IDs {
		id, err := a.store.FindToken(text)
		switch {
		case errors.Is(err, storage.ErrNoToken):
			return reply.Refuse(http.StatusNotFound, "no token has an id that begins with %s", text)
		case errors.Is(err, storage.ErrAmbiguous):
			return reply.Refuse(http.StatusBadRequest, "more than one token has an id that begins with %s: type more of it", text)
		case err != nil:
			return err
		}
		ids = append(ids, id)
	}
	n, err := a.store.RevokeTokens(r.Actor(), ids...)
	a.Revoked(n)
	return reply.OK(w, api.Revoked{Revoked: n}, err)
}

func (a *Admin) rotateToken(w http.ResponseWriter, r *route.Request, in api.Rotation) error {
	overlap, err := tokens.ParseOverlap(cmp.Or(in.Overlap, tokens.DefaultOverlap))
	if err != nil {
		return err
	}
	if in.Hold {
		overlap = storage.MaxOverlap
	}
	id, err := a.store.FindToken(r.PathValue("id"))
	if err != nil {
		return err
	}
	t, err := a.store.Token(id)
	if err != nil {
		return err
	}
	if t.Expired(a.Now().UnixMilli()) {
		return tokens.ErrExpired
	}
	if config.IsSCIM(t.Scopes) {
		if err := mayProvision(r); err != nil {
			return err
		}
	}
	t, secret, err := a.store.RotateToken(r.Actor(), id, overlap, storage.ByUser)
	if err != nil {
		return err
	}
	return reply.OK(w, view.NewToken(t, a.store.UID(t.Owner), secret), nil)
}

func (a *Admin) renameToken(w http.ResponseWriter, r *route.Request, in api.TokenName) error {
	id, err := a.store.FindToken(r.PathValue("id"))
	if err != nil {
		return err
	}
	return reply.NoContent(w, a.store.RenameToken(r.Actor(), id, in.Name))
}
