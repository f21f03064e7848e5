package admin

import (
	"fmt"
	"net/http"
	"time"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/view"
)

// keys serves GET /admin/key: which keys there are, and what they are for.
func (a *Admin) keys(w http.ResponseWriter, _ *route.Request) error {
	files, tokenKeys, err := a.store.Keys()
	if err != nil {
		return explain("the key file can't be read", err)
	}
	var out api.Keys
	for _, f := range files {
		out.Files = append(out.Files, api.KeyFile{Name: f.Name, ID: f.ID, Written: view.Millis(f.Written), Opens: f.Opens})
	}
	for _, k := range tokenKeys {
		out.Tokens = append(out.Tokens, api.TokenKey{Number: number(k.Number), Current: k.Current, Made: k.Made, Ends: k.Ends, Tokens: k.Tokens})
	}
	return reply.OK(w, out, nil)
}

// number writes the number of a token key as the ids of its tokens do.
func number(n byte) string { return fmt.Sprintf("%02x", n) }

func (a *Admin) rotateKey(w http.ResponseWriter, r *route.Request, in api.KeyRotation) error {
	var retire time.Duration
	if in.RetireTokensAfter != "" {
		var err error
		if retire, err = config.ParseSpan(in.RetireTokensAfter); err != nil {
			return reply.Refuse(http.StatusBadRequest, "retireTokensAfter: %v", err)
		}
	}
	done, err := a.store.RotateKey(r.Actor(), retire)
	if err != nil {
		return explain("the key was not rotated", err)
	}
	a.Log.Info("the key was rotated", "key", done.File, "id", done.ID, "old", done.Old, "token_key", number(done.TokenKey), "by", r.Peer)
	return reply.OK(w, api.RotatedKey{File: done.File, ID: done.ID, Old: done.Old, TokenKey: number(done.TokenKey), Ends: done.Ends}, nil)
}

// explain tells an administrator what is wrong with the key: package reply would call it
// an internal error.
func explain(what string, err error) error {
	if status, _ := reply.Status(err); status != http.StatusInternalServerError {
		return err
	}
	return reply.Refuse(http.StatusConflict, "%s: %v", what, err)
}
