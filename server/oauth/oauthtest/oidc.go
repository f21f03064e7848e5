package oauthtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"gatehouse/storage/storagetest/must"
)

// keys sign ID tokens.
type keys struct {
	private *rsa.PrivateKey
	id      string
	// rogue, unless it is nil, signs the ID tokens. It is not published.
	rogue *rsa.PrivateKey
}

// Rogue makes the server sign ID tokens with somebody else's key from now on.
func (s *Server) Rogue() {
	s.Helper()
	key := must.Get(rsa.GenerateKey(rand.Reader, 2048))(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.rogue = key
}

// openID is a provider of OpenID Connect with introspection.
func (s *Server) openID(mux *http.ServeMux) {
	key := must.Get(rsa.GenerateKey(rand.Reader, 2048))(s)
	s.keys.private, s.keys.id = key, "1"
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		meta := object{
			"issuer": s.URL, "authorization_endpoint": s.URL + "/authorize", "token_endpoint": s.URL + "/token", "jwks_uri": s.URL + "/keys",
			"userinfo_endpoint": s.URL + "/userinfo", "introspection_endpoint": s.URL + "/introspect",
			"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"}, "response_types_supported": []string{"code"},
			"subject_types_supported": []string{"public"}, "code_challenge_methods_supported": []string{"S256"},
		}
		if s.Metadata != nil {
			s.Metadata(meta)
		}
		reply(w, http.StatusOK, meta)
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		public := jose.JSONWebKey{Key: s.keys.private.Public(), KeyID: s.keys.id, Algorithm: "RS256", Use: "sig"}
		s.mu.Unlock()
		reply(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{public}})
	})
	mux.HandleFunc("GET /userinfo", s.userInfo)
	mux.HandleFunc("POST /token", s.token)
	mux.HandleFunc("POST /introspect", func(w http.ResponseWriter, r *http.Request) {
		if s.client(r) == "" {
			reply(w, http.StatusUnauthorized, object{"error": "invalid_client"})
			return
		}
		g := s.grant(r.PostFormValue("token"))
		if g == nil {
			reply(w, http.StatusOK, object{"active": false})
			return
		}
		// The token is meant for all services, as with some providers: only the client
		// tells.
		reply(w, http.StatusOK, object{
			"active": true, "client_id": g.client, "sub": strconv.FormatInt(g.account.ID, 10), "aud": []string{Client, "account"},
			"exp": g.expires.Unix(), "scope": strings.Join(g.scopes, " "), "token_type": "Bearer",
		})
	})
}

// idToken signs the claims about a person who has just logged in.
func (s *Server) idToken(g *grant, access string) string {
	sum := sha256.Sum256([]byte(access))
	claims := object{
		"iss": s.URL, "aud": g.client, "sub": strconv.FormatInt(g.account.ID, 10), "nonce": g.nonce,
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(sum[:16]),
	}
	if e := g.account.primary(); e.Address != "" {
		claims["email"], claims["email_verified"] = e.Address, e.Verified
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Claims != nil {
		s.Claims(claims)
	}
	key := s.keys.private
	if s.keys.rogue != nil {
		key = s.keys.rogue
	}
	return s.sign(key, s.keys.id, nil, claims)
}

// LogoutToken signs a logout token, whose claims and header change may change, with the
// published key.
func (s *Server) LogoutToken(change func(claims, header map[string]any)) string {
	claims := object{
		"iss": s.URL, "aud": Client, "iat": s.Now().Unix(), "jti": "jti_" + strconv.FormatInt(time.Now().UnixNano(), 36),
		"events": object{"http://schemas.openid.net/event/backchannel-logout": object{}},
	}
	header := object{"typ": "logout+jwt"}
	if change != nil {
		change(claims, header)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.keys.id
	if other, ok := header["kid"].(string); ok {
		id = other
	}
	options := new(jose.SignerOptions)
	if typ, ok := header["typ"].(string); ok {
		options = options.WithType(jose.ContentType(typ))
	}
	key := s.keys.private
	if s.keys.rogue != nil {
		key = s.keys.rogue
	}
	return s.sign(key, id, options, claims)
}

// RotateKeys replaces the published key.
func (s *Server) RotateKeys(id string) {
	s.Helper()
	key := must.Get(rsa.GenerateKey(rand.Reader, 2048))(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.private, s.keys.id = key, id
}

func (s *Server) sign(key *rsa.PrivateKey, id string, options *jose.SignerOptions, claims object) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: key, KeyID: id}}, options)
	if err != nil {
		s.Error(err)
		return ""
	}
	b, err := json.Marshal(claims)
	if err != nil {
		s.Error(err)
		return ""
	}
	signed, err := signer.Sign(b)
	if err != nil {
		s.Error(err)
		return ""
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		s.Error(err)
	}
	return text
}
