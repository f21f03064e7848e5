package oauth

import (
	"net/url"
	"slices"
	"testing"
	"time"

	"gatehouse/server/oauth/oauthtest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestDex asks a real provider of OpenID Connect.
func TestDex(t *testing.T) {
	storagetest.Slow(t)
	d := oauthtest.StartDex(t, callback, "")
	p := must.Get(New(Config{
		Name: "dex", Type: OIDC, URL: d.Issuer, Insecure: true,
		ClientID: "gatehouse", ClientSecretFile: secretFile(t, "gatehouse-secret\n", 0o600), Timeout: time.Minute,
	}))(t)
	t.Run("posted", func(t *testing.T) {
		access, refresh := d.Tokens("gatehouse", "ada@example.com")
		c, err := p.Verify(t.Context(), access)
		if err != nil || c.Subject == "" || c.Name != "Ada Backus" || !slices.Equal(c.Emails, []string{"ada@example.com"}) {
			t.Errorf("got %+v, %v", c, err)
		}
		foreign, _ := d.Tokens("other", "ada@example.com")
		_, err = p.Verify(t.Context(), foreign)
		wantRefused(t, err, "another client", foreign)
		_, err = p.Verify(t.Context(), refresh)
		wantRefused(t, err, "", refresh)
		_, err = p.Verify(t.Context(), access[:len(access)-8]+"AAAAAAAA")
		wantRefused(t, err, "does not know the token", access)

		unverified, _ := d.Tokens("gatehouse", "bob@example.com")
		if c, err := p.Verify(t.Context(), unverified); err != nil || len(c.Emails) != 0 {
			t.Errorf("an address that is not verified: got %+v, %v", c, err)
		}
	})
	t.Run("browser", func(t *testing.T) {
		login, address := must.Get2(p.Begin(t.Context(), callback))(t)
		back := must.Get(url.Parse(d.LogIn(address, "ada@example.com")))(t)
		other, _ := must.Get2(p.Begin(t.Context(), callback))(t)
		c, err := p.Finish(t.Context(), login, back.Query())
		if err != nil || c.Subject == "" || c.Name != "Ada Backus" || !slices.Equal(c.Emails, []string{"ada@example.com"}) {
			t.Errorf("got %+v, %v", c, err)
		}
		_, err = p.Finish(t.Context(), login, back.Query())
		wantRefused(t, err, "rejected the code", back.Query().Get("code"))

		// A code that was given for another login's challenge, with our state.
		login, address, _ = p.Begin(t.Context(), callback)
		back, _ = url.Parse(d.LogIn(address, "ada@example.com"))
		other.State = login.State
		_, err = p.Finish(t.Context(), other, back.Query())
		wantRefused(t, err, "rejected the code", back.Query().Get("code"))
	})
}
