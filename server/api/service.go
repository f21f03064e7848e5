package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
)

// Answering says who answers for a service account.
type Answering struct {
	Owner     string `json:"owner"`     // a uid; empty: it is orphaned
	Successor string `json:"successor"` // a uid; empty: nobody
}

// Service is a service account as administrators see it. Its UID ends with @service.
type Service struct {
	UID         string `json:"uid"`
	Description string `json:"description"`
	Answering
	Orphaned bool   `json:"orphaned"` // nobody owns it; its tokens still work
	State    string `json:"state"`    // StateActive or StateDisabled
	Created  int64  `json:"created"`
	Tokens   int    `json:"tokens"`   // live and expired ones, not the revoked
	LastUsed int64  `json:"lastUsed"` // of its tokens, the latest; 0: none was ever used
}

// OwnService is a service account as its owner sees it.
type OwnService struct {
	UID         string `json:"uid"`
	Description string `json:"description"`
	Successor   string `json:"successor"` // a uid; empty: nobody
	State       string `json:"state"`     // StateActive or StateDisabled
	Tokens      int    `json:"tokens"`    // live and expired ones, not the revoked
	LastUsed    int64  `json:"lastUsed"`  // of its tokens, the latest; 0: none was ever used
}

// ServiceToken is a token of a service account as the account's owner sees it.
type ServiceToken struct {
	OwnToken
	CreatedBy string `json:"createdBy"` // a uid, or an account of the host
	State     string `json:"state"`
}

// NewService asks for a service account.
type NewService struct {
	Name        string `json:"name"` // its uid is NAME@service
	Owner       string `json:"owner"`
	Successor   string `json:"successor,omitempty"`
	Description string `json:"description,omitempty"`
}

// Transfer gives a service account to another owner.
type Transfer struct {
	Owner     string  `json:"owner"`
	Successor *string `json:"successor,omitempty"` // nil: the one it has; empty: nobody
}

func servicePath(name string) string { return "/admin/services/" + url.PathEscape(name) }

// Services lists the service accounts that a user owns; an empty owner: all.
func (c *Client) Services(ctx context.Context, owner string) iter.Seq2[Service, error] {
	v := url.Values{}
	set(v, "owner", owner)
	return stream[Service](ctx, c, http.MethodGet, "/admin/services?"+v.Encode(), nil)
}

// Service returns a service account by its name or uid.
func (c *Client) Service(ctx context.Context, name string) (Service, error) {
	return ask[Service](ctx, c, http.MethodGet, servicePath(name), nil)
}

// AddService makes a service account.
func (c *Client) AddService(ctx context.Context, n NewService) (Service, error) {
	return ask[Service](ctx, c, http.MethodPost, "/admin/services", n)
}

// TransferService gives a service account to another owner.
func (c *Client) TransferService(ctx context.Context, name string, t Transfer) (Service, error) {
	return ask[Service](ctx, c, http.MethodPost, servicePath(name)+"/transfer", t)
}

// RemoveService removes a service account and revokes its tokens for good.
func (c *Client) RemoveService(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, servicePath(name), nil, nil)
}
