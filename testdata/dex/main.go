// Dex is a real OpenID provider for the tests: Dex itself, with two clients and some
// people in memory. It is a module of its own, to keep Dex's dependencies out of
// Gatehouse's module. `go build` in this directory makes it.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/authflow"
	"github.com/dexidp/dex/server/session"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/server/tokens"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/dexidp/dex/web"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/crypto/bcrypt"
)

// What the tests know. Everybody's password is "secret".
var (
	clients = []storage.Client{
		{ID: "gatehouse", Secret: "gatehouse-secret", Name: "Gatehouse"},
		{ID: "other", Secret: "other-secret", Name: "Another service"},
	}
	people = []storage.Password{
		{Email: "ada@example.com", UserID: "8a1b", Username: "ada", Name: "Ada Backus"},
		{Email: "bob@example.com", UserID: "9c2d", Username: "bob", EmailVerified: new(bool)},
	}
)

func main() {
	listen := flag.String("listen", "127.0.0.1:5556", "the address; the issuer is http:// and this")
	callback := flag.String("callback", "http://127.0.0.1:8080/login/dex/callback", "where browsers are sent back to")
	logout := flag.String("logout", "", "where logout tokens are sent to")
	flag.Parse()
	for n := range 9 {
		name := fmt.Sprintf("p%d", n)
		people = append(people, storage.Password{Email: name + "@example.com", UserID: name, Username: name})
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := serve(*listen, *callback, *logout, log); err != nil {
		log.Error("dex", "error", err)
		os.Exit(1)
	}
}

func serve(listen, callback, logout string, log *slog.Logger) error {
	ctx := context.Background()
	store := storage.Storage(loose{memory.New(log)})
	if err := fill(ctx, store, callback, logout); err != nil {
		return err
	}
	sign, err := (&signer.LocalConfig{KeysRotationPeriod: "6h"}).Open(ctx, store, time.Hour, time.Now, log)
	if err != nil {
		return err
	}
	sign.Start(ctx)
	refresh, err := tokens.NewRefreshTokenPolicy(log, false, "", "", "") // a new refresh token each time, as by default
	if err != nil {
		return err
	}
	s, err := server.NewServer(ctx, server.Config{
		Issuer: "http://" + listen, Storage: store, Logger: log, Signer: sign,
		PasswordConnector: "local", SkipApprovalScreen: true, RefreshTokenPolicy: refresh,
		IDTokensValidFor: time.Hour, PrometheusRegistry: prometheus.NewRegistry(),
		PKCE: authflow.PKCEConfig{Enforce: true, CodeChallengeMethodsSupported: []string{"S256"}},
		Web:  server.WebConfig{WebFS: web.FS()},
		SessionConfig: &session.Config{
			CookieName: "dex", CookieEncryptionKey: []byte(rand.Text()[:16]), AbsoluteLifetime: time.Hour, ValidIfNotUsedFor: time.Hour,
			RememberMeCheckedByDefault: true,
		},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	log.Info("listening", "issuer", "http://"+listen)
	mux := http.NewServeMux()
	mux.Handle("/", s)
	mux.HandleFunc("POST /test/leave", func(w http.ResponseWriter, r *http.Request) {
		if err := leave(r.Context(), store, r.FormValue("mail")); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	stopped, cancel := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel()
	h := &http.Server{Handler: mux}
	ended := make(chan error, 1)
	go func() {
		<-stopped.Done()
		ended <- h.Shutdown(ctx) // after the answers to what was asked
	}()
	if err := h.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return <-ended
}

// loose is Dex's store in memory, except that it holds no lock while it changes a refresh
// token. During the change, Dex looks the person up in the same store, and would wait forever.
type loose struct{ storage.Storage }

func (s loose) UpdateRefreshToken(ctx context.Context, id string, change func(storage.RefreshToken) (storage.RefreshToken, error)) error {
	old, err := s.GetRefresh(ctx, id)
	if err != nil {
		return err
	}
	changed, err := change(old)
	if err != nil {
		return err
	}
	return s.Storage.UpdateRefreshToken(ctx, id, func(storage.RefreshToken) (storage.RefreshToken, error) { return changed, nil })
}

// leave deletes a person, and the person's refresh tokens, as an administrator does
// through Dex's API.
func leave(ctx context.Context, store storage.Storage, mail string) error {
	list, err := store.ListRefreshTokens(ctx)
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.Claims.Email == mail {
			if err := store.DeleteRefresh(ctx, t.ID); err != nil {
				return err
			}
		}
	}
	return store.DeletePassword(ctx, mail)
}

func fill(ctx context.Context, store storage.Storage, callback, logout string) error {
	for _, c := range clients {
		c.RedirectURIs = []string{callback}
		if c.ID == "gatehouse" {
			c.BackchannelLogoutURI = logout
		}
		if err := store.CreateClient(ctx, c); err != nil {
			return err
		}
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost+6)
	if err != nil {
		return err
	}
	for _, p := range people {
		p.Hash = hash
		if err := store.CreatePassword(ctx, p); err != nil {
			return err
		}
	}
	return store.CreateConnector(ctx, storage.Connector{ID: "local", Type: "local", Name: "Password"})
}
