package api

import (
	"context"
	"io"
	"iter"
	"maps"
	"net"
	"net/http"
	"net/url"
)

// Client speaks the administration API. It has no time-out of its own: the
// context of each call decides.
//
// A call returns *Error for a refusal by the server, and *UnreachableError if no server
// answers.
type Client struct {
	http *http.Client
	done func() error // called by Close; nil: there is a server
}

// Dial returns a client for the server that listens on the unix socket. It
// connects at the first call.
func Dial(socket string) *Client {
	var d net.Dialer
	return &Client{http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, "unix", socket)
			if err != nil {
				return nil, &UnreachableError{Socket: socket, Err: err}
			}
			return conn, nil
		},
	}}}
}

// Offline reports whether the client works on the store without a server.
func (c *Client) Offline() bool { return c.done != nil }

// Close drops the idle connections, or closes the store that the client works on.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	if c.done == nil {
		return nil
	}
	return c.done()
}

// Ping asks whether a server answers, and lets the caller administer it.
func (c *Client) Ping(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/admin/ping", nil, nil)
}

// Who asks how the server knows the caller.
func (c *Client) Who(ctx context.Context) (Who, error) {
	return ask[Who](ctx, c, http.MethodGet, "/admin/who", nil)
}

// Ready returns an error unless the server's store is open and takes changes.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, http.MethodGet, "/readyz", nil, nil)
}

// Status asks the server about itself.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, http.MethodGet, "/admin/status", nil)
}

// Users lists users.
func (c *Client) Users(ctx context.Context, q UserQuery) iter.Seq2[User, error] {
	return stream[User](ctx, c, http.MethodGet, "/admin/users?"+q.values().Encode(), nil)
}

// UserCount counts the users that a query selects. It ignores After and Limit.
func (c *Client) UserCount(ctx context.Context, q UserQuery) (Count, error) {
	q.After, q.Limit = "", 0
	return ask[Count](ctx, c, http.MethodGet, "/admin/users/count?"+q.values().Encode(), nil)
}

func (q UserQuery) values() url.Values {
	v := q.Filters.values(q.Words)
	setPage(v, q.Order, q.Reverse, q.After, q.Limit)
	return v
}

// User returns one user.
func (c *Client) User(ctx context.Context, uid string) (UserDetail, error) {
	return ask[UserDetail](ctx, c, http.MethodGet, userPath(uid), nil)
}

// AddUser makes a local user and returns the password: the given one, or the
// one that was made.
func (c *Client) AddUser(ctx context.Context, n NewUser) (Password, error) {
	return ask[Password](ctx, c, http.MethodPost, "/admin/users", n)
}

// SetPassword sets a user's password (an empty one asks the server to make
// one), ends the user's sessions, and returns the password.
func (c *Client) SetPassword(ctx context.Context, uid, password string) (Password, error) {
	return ask[Password](ctx, c, http.MethodPost, userPath(uid)+"/password", Password{Password: password})
}

// DisableUser stops every token and session of the user.
func (c *Client) DisableUser(ctx context.Context, uid string) error {
	return c.call(ctx, http.MethodPost, userPath(uid)+"/disable", nil, nil)
}

// EnableUser undoes DisableUser: the tokens work again.
func (c *Client) EnableUser(ctx context.Context, uid string) error {
	return c.call(ctx, http.MethodPost, userPath(uid)+"/enable", nil, nil)
}

// UnlockUser lifts the delay of the user's logins.
func (c *Client) UnlockUser(ctx context.Context, uid string) error {
	return c.call(ctx, http.MethodPost, userPath(uid)+"/unlock", nil, nil)
}

// RenameUser gives the user another uid; identities and tokens stay.
func (c *Client) RenameUser(ctx context.Context, uid, to string) error {
	return c.call(ctx, http.MethodPost, userPath(uid)+"/rename", Rename{to}, nil)
}

// RemoveUser removes the user and revokes the tokens for good.
func (c *Client) RemoveUser(ctx context.Context, uid string) error {
	return c.call(ctx, http.MethodDelete, userPath(uid), nil, nil)
}

// LinkUser ties another identity to a user. It returns an *Error with the status 404 if
// the identity's source does not have the subject, or can't have it. An identity that can't be
// checked is linked, and the reply says so.
func (c *Client) LinkUser(ctx context.Context, uid string, l Link) (Linked, error) {
	return ask[Linked](ctx, c, http.MethodPost, userPath(uid)+"/link", l)
}

// UnlinkUser takes an identity from a user again.
func (c *Client) UnlinkUser(ctx context.Context, uid string, id Identity) error {
	return c.call(ctx, http.MethodPost, userPath(uid)+"/unlink", id, nil)
}

// Offboard returns the off-boarding sweep that is held. It has no changes if none is
// held.
func (c *Client) Offboard(ctx context.Context) (HeldSweep, error) {
	return ask[HeldSweep](ctx, c, http.MethodGet, "/admin/offboard", nil)
}

// ConfirmOffboard lets a held sweep go on.
func (c *Client) ConfirmOffboard(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/admin/offboard/confirm", nil, nil)
}

// Tokens lists tokens, the oldest LastUsed first unless the query says otherwise.
func (c *Client) Tokens(ctx context.Context, q TokenQuery) iter.Seq2[Token, error] {
	return stream[Token](ctx, c, http.MethodGet, "/admin/tokens?"+q.values().Encode(), nil)
}

// TokenCount counts the tokens that a query selects. It ignores After and Limit.
func (c *Client) TokenCount(ctx context.Context, q TokenQuery) (Count, error) {
	q.After, q.Limit = "", 0
	return ask[Count](ctx, c, http.MethodGet, "/admin/tokens/count?"+q.values().Encode(), nil)
}

// Matching asks what a bulk revocation of a query would revoke now.
func (c *Client) Matching(ctx context.Context, q TokenQuery) (Matching, error) {
	return ask[Matching](ctx, c, http.MethodGet, "/admin/tokens/matching?"+q.Filters.values(q.Words).Encode(), nil)
}

func (q TokenQuery) values() url.Values {
	v := q.Filters.values(q.Words)
	setNumber(v, "at", uint64(q.At))
	setFlag(v, "revoked", q.Revoked)
	setPage(v, q.Order, q.Reverse, q.After, q.Limit)
	return v
}

// values returns each filter under its name, and the words of a query line.
func (f Filters) values(words string) url.Values {
	v := url.Values{}
	maps.Copy(v, f)
	set(v, "words", words)
	return v
}

// Token returns everything known about one token, except its events.
func (c *Client) Token(ctx context.Context, id string) (TokenDetail, error) {
	return ask[TokenDetail](ctx, c, http.MethodGet, "/admin/tokens/"+url.PathEscape(id), nil)
}

// RevokeMatching revokes all the tokens that match, in one job. It yields the progress at
// least once a second, and last with Done. Breaking off the loop, or ending ctx, stops
// the job; the tokens already revoked stay revoked.
func (c *Client) RevokeMatching(ctx context.Context, r BulkRevocation) iter.Seq2[Progress, error] {
	return stream[Progress](ctx, c, http.MethodPost, "/admin/revocations", r)
}

// StopRevocation stops a job of RevokeMatching. The last Progress of the job then says
// so.
func (c *Client) StopRevocation(ctx context.Context, job string) error {
	return c.call(ctx, http.MethodPost, "/admin/revocations/"+url.PathEscape(job)+"/stop", nil, nil)
}

// CreateToken makes a token for a user.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (NewToken, error) {
	return ask[NewToken](ctx, c, http.MethodPost, "/admin/tokens", r)
}

// RotateToken gives a token a new secret. Until the new secret is used or the overlap
// ends, another call returns the same secret, and can only make the overlap shorter.
func (c *Client) RotateToken(ctx context.Context, id string, r Rotation) (NewToken, error) {
	return ask[NewToken](ctx, c, http.MethodPost, "/admin/tokens/"+url.PathEscape(id)+"/rotate", r)
}

// RenameToken gives a token another name.
func (c *Client) RenameToken(ctx context.Context, id, name string) error {
	return c.call(ctx, http.MethodPost, "/admin/tokens/"+url.PathEscape(id)+"/rename", TokenName{name}, nil)
}

// Revoke revokes the named tokens. It revokes none of them if one of the names fits no
// token, or several.
func (c *Client) Revoke(ctx context.Context, r Revocation) (Revoked, error) {
	return ask[Revoked](ctx, c, http.MethodPost, "/admin/tokens/revoke", r)
}

// Identify asks which texts are tokens of this installation.
func (c *Client) Identify(ctx context.Context, t Texts) (Identified, error) {
	return ask[Identified](ctx, c, http.MethodPost, "/admin/identify", t)
}

// RevokeFound revokes tokens that were found, if the text that was found works or will work
// again when its user is enabled. The others are not counted, and are not an error.
func (c *Client) RevokeFound(ctx context.Context, f Finds) (Revoked, error) {
	return ask[Revoked](ctx, c, http.MethodPost, "/admin/found", f)
}

// Backup writes a snapshot of the store as it is now. It may break off without an
// error, so that the caller must check that it is whole.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	resp, err := c.send(ctx, http.MethodGet, "/admin/backup", nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// NoteBackup tells the server that a backup which it sent is whole and kept, so that it counts
// as the last one.
func (c *Client) NoteBackup(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/admin/backup", nil, nil)
}
