// Package site is the web page: which page a browser gets, and what its forms do. Package
// web says how a page looks. The package never decides who the caller is: package server
// does, before it calls a handler, and for the home page by [Needs].Authenticate.
//
// The page does nothing that the API can't do, and uses the same calls of packages login
// and tokens. A form is answered with a redirect, so that a reload does not send it again.
// Only a new token is shown in the answer itself, because its secret must not be in a URL.
package site

import (
	"net/http"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/login"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/view"
	"gatehouse/server/web"
	"gatehouse/storage"
)

// Site serves the web page.
type Site struct {
	Needs
	view view.View
}

// Needs are the parts of the server that a Site works with.
type Needs struct {
	Store        *storage.Store
	Config       func() *config.Config
	Now          func() time.Time
	Pages        *web.Pages
	Logins       *login.Logins
	Tokens       *tokens.Tokens
	Turns        *guard.Turns
	Authenticate func(*route.Request, route.Credential) (route.Caller, error)
	// Refusal returns what a client is told of an error, as package server does everywhere.
	Refusal func(http.ResponseWriter, *http.Request, error) (status int, message string)
}

// New returns the web page of a server.
func New(n Needs) *Site { return &Site{Needs: n, view: view.New(n.Store, n.Now)} }

// Routes lists the URLs of the web page.
func (st *Site) Routes() []route.Route {
	return []route.Route{
		{Pattern: "GET /{$}", Fail: route.AsPage, Class: route.Page, Serve: st.home},
		{Pattern: "POST /login", Fail: route.AsPage, Class: route.Page, Serve: st.loginForm},
		{Pattern: "POST /logout", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.logoutForm},
		{Pattern: "POST /tokens", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.createForm},
		{Pattern: "GET /tokens/{id}/rename", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.renamePage},
		{Pattern: "POST /tokens/{id}/rename", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.renameForm},
		{Pattern: "GET /tokens/{id}/revoke", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.revokePage},
		{Pattern: "POST /tokens/{id}/revoke", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.revokeForm},

		{Pattern: "GET /tokens/{id}/rotate", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.rotatePage},
		{Pattern: "POST /tokens/{id}/rotate", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.rotateForm},

		{Pattern: "GET /services", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.servicesPage},
		{Pattern: "GET /services/{name}", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.servicePage},

		{Pattern: "GET /account", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.accountPage},
		{Pattern: "POST /account/password", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.passwordForm},
		{Pattern: "POST /account/sessions", Who: route.ByCookie, Fail: route.AsPage, Class: route.Page, Serve: st.sessionsForm},

		{Pattern: "GET /account/{form}", Fail: route.AsPage, Class: route.Page, Serve: st.toAccount},
		{Pattern: "GET /login", Fail: route.AsPage, Class: route.Page, Serve: st.toHome},
		{Pattern: "GET /logout", Fail: route.AsPage, Class: route.Page, Serve: st.toHome},
		{Pattern: "GET /tokens", Fail: route.AsPage, Class: route.Page, Serve: st.toHome},
		{Pattern: "GET /manual", Fail: route.AsPage, Class: route.Page, Serve: toManual},
		{Pattern: "GET /manual/{$}", Fail: route.AsPage, Class: route.Page, Serve: st.manualContents},
		{Pattern: "GET /manual/{topic}", Fail: route.AsPage, Class: route.Page, Serve: st.manualChapter},

		{Pattern: "GET " + web.AssetPath + "{file}", Fail: route.AsPage, Class: route.Page, Serve: st.asset},
	}
}
