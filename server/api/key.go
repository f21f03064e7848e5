package api

import (
	"context"
	"net/http"
)

// Keys are the key files and the token keys of a store. They contain no key.
type Keys struct {
	Files  []KeyFile  `json:"files"`  // the one in use, then the old ones beside it, the newest first
	Tokens []TokenKey `json:"tokens"` // the newest first
}

// KeyFile is a key file.
type KeyFile struct {
	Name    string `json:"name"`
	ID      string `json:"id"`      // tells it from others
	Written int64  `json:"written"` // ms
	Opens   bool   `json:"opens"`   // the keyring of this store
}

// TokenKey is a key that tokens are derived from.
type TokenKey struct {
	Number  string `json:"number"`  // the ids of its tokens begin with it
	Current bool   `json:"current"` // new tokens use it
	Made    int64  `json:"made"`    // ms; 0: with the store
	Ends    int64  `json:"ends"`    // when all its tokens end, in ms; 0: they do not
	Tokens  int    `json:"tokens"`  // that are not revoked
}

// KeyRotation asks for a new key file and a new token key.
type KeyRotation struct {
	RetireTokensAfter string `json:"retireTokensAfter,omitempty"` // when the tokens of earlier keys end, such as "30d"; empty: they do not
}

// RotatedKey is the answer to a KeyRotation.
type RotatedKey struct {
	File     string `json:"file"` // has the new key
	ID       string `json:"id"`
	Old      string `json:"old"`      // the file that has the old key
	TokenKey string `json:"tokenKey"` // the ids of new tokens begin with it
	Ends     int64  `json:"ends"`     // when the tokens of earlier keys end, in ms; 0: they do not
}

// Keys lists the keys.
func (c *Client) Keys(ctx context.Context) (Keys, error) {
	return ask[Keys](ctx, c, http.MethodGet, "/admin/key", nil)
}

// RotateKey replaces the key file, and adds a token key.
func (c *Client) RotateKey(ctx context.Context, r KeyRotation) (RotatedKey, error) {
	return ask[RotatedKey](ctx, c, http.MethodPost, "/admin/key/rotate", r)
}
