package server

import (
	"errors"
	"net/http"
	"strings"

	"gatehouse/server/body"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/storage"
)

// createToken serves POST /api/token.
func (s *Server) createToken(w http.ResponseWriter, r *route.Request) error {
	var o tokens.Options
	if err := body.JSON(r.Request, &o, true); err != nil {
		return err
	}
	spec, warning, err := tokens.Spec(s.config().Tokens, o)
	if err != nil {
		return err
	}
	return s.handOut(w, r, spec, warning)
}

// createTokenByGet serves GET /api/createApiToken. It changes something although it
// is a GET, so it must be a person or a script that asks, not a prefetching browser
// or another site.
func (s *Server) createTokenByGet(w http.ResponseWriter, r *route.Request) error {
	if aheadOfNeed(r.Request) {
		return reply.Refuse(http.StatusForbidden, "A token is not made ahead of need")
	}
	if s.fromElsewhere(r.Request) {
		return reply.ErrOrigin
	}
	// Over plain http browsers do not say what led them here, and they send a
	// cookie that is Lax along with every link. A script follows no links.
	if byProvider(r.Session.Method) && r.Header.Get("Sec-Fetch-Site") == "" && wantsPage(r.Request) {
		return reply.Refuse(http.StatusForbidden, "Without https, make a token on the page at / instead")
	}
	return s.handOut(w, r, tokens.DefaultSpec(s.config().Tokens), "")
}

// aheadOfNeed reports whether a browser prefetches or prerenders: nobody has asked
// for it yet.
func aheadOfNeed(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		if v := strings.ToLower(strings.Join(r.Header.Values(name), ",")); strings.Contains(v, "prefetch") || strings.Contains(v, "preview") || strings.Contains(v, "prerender") {
			return true
		}
	}
	return false
}

// fromElsewhere reports whether another site's page sent the browser here. Unlike
// http.CrossOriginProtection it checks GETs, too.
func (s *Server) fromElsewhere(r *http.Request) bool {
	asPost := r.WithContext(r.Context()) // a copy: the check lets every GET pass
	asPost.Method = http.MethodPost
	return s.origins.Check(asPost) != nil
}

// handOut creates a token and replies with its secret.
func (s *Server) handOut(w http.ResponseWriter, r *route.Request, spec storage.TokenSpec, warning string) error {
	t, secret, err := s.makeToken(r, r.User, spec)
	if err != nil {
		return reply.UnlessGone(err, reply.ErrCredentials)
	}
	made := view.NewToken(t, r.User.UID, secret)
	made.Warning = warning
	reply.JSON(w, http.StatusOK, made)
	return nil
}

// makeToken creates a token for a user, as one of the changes that the user may
// make in an hour.
func (s *Server) makeToken(r *route.Request, user route.Principal, spec storage.TokenSpec) (t storage.Token, secret storage.Secret, err error) {
	err = s.changes.Spend(user.ID, func() error {
		t, secret, err = s.store.CreateToken(r.ActorOf(user.UID), user.ID, spec)
		return err
	})
	return t, secret, err
}

// thisToken serves GET /api/token.
func (s *Server) thisToken(w http.ResponseWriter, r *route.Request) error {
	t, err := s.store.Token(r.Token.ID)
	if err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, s.view.Own(t, r.User.UID))
	return nil
}

// revokeSent serves GET /api/revokeApiToken. Whoever holds a token may revoke
// it, and learns nothing by it: the answer is the same for every text. Of
// several, all are revoked.
func (s *Server) revokeSent(w http.ResponseWriter, r *route.Request) error {
	if err := s.revokeTexts(r, tokensOf(r.Request, false)...); err != nil {
		return err
	}
	reply.JSON(w, http.StatusOK, struct{}{})
	return nil
}

// revokeTexts revokes those of the texts that are tokens.
func (s *Server) revokeTexts(r *route.Request, texts ...string) error {
	var ids []storage.ID
	for _, text := range texts {
		id, generation, ok := s.store.Identify(text)
		if !ok {
			continue
		}
		t, err := s.store.Token(id)
		if err != nil && !errors.Is(err, storage.ErrNoToken) {
			return err
		}
		if err == nil && t.Revoked == 0 && t.Accepts(generation, s.now().UnixMilli()) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	by := storage.Actor{Name: "its holder", Address: ipaddr.Text(r.From)}
	_, err := s.revoke(by, ids...)
	return err
}

// own returns the token whose id is in the path, if it is the caller's and is
// not revoked.
func (s *Server) own(r *route.Request) (t storage.Token, err error) {
	id, err := storage.ParseID(r.PathValue("id"))
	if err != nil {
		return t, storage.ErrNoToken
	}
	t, err = s.store.Token(id)
	if err == nil && (t.Owner != r.User.ID || t.Revoked != 0) {
		err = storage.ErrNoToken
	}
	return t, err
}

// renameToken serves PATCH /api/token/{id}.
func (s *Server) renameToken(w http.ResponseWriter, r *route.Request) error {
	var in struct {
		Name *string `json:"name"`
	}
	if err := body.JSON(r.Request, &in, false); err != nil {
		return err
	}
	if in.Name == nil {
		return reply.Refuse(http.StatusBadRequest, `The field "name" is missing`)
	}
	t, err := s.own(r)
	if err != nil {
		return err
	}
	if err := s.rename(r, t.ID, *in.Name); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// rename gives a token of the caller's another name.
func (s *Server) rename(r *route.Request, id storage.ID, name string) error {
	return s.changes.Spend(r.User.ID, func() error { return s.store.RenameToken(r.Actor(), id, name) })
}

// revokeToken serves DELETE /api/token/{id}. A token with scopes may revoke
// itself and no other.
func (s *Server) revokeToken(w http.ResponseWriter, r *route.Request) error {
	t, err := s.own(r)
	if err != nil {
		return err
	}
	if len(r.Scopes()) > 0 && r.Token.ID != t.ID {
		return reply.Refuse(http.StatusForbidden, "A token with scopes may revoke only itself")
	}
	if _, err := s.revoke(r.Actor(), t.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// revoke revokes tokens, and counts them.
func (s *Server) revoke(by storage.Actor, ids ...storage.ID) (int, error) {
	n, err := s.store.RevokeTokens(by, ids...)
	s.metrics.revocations.Add(float64(n))
	return n, err
}
