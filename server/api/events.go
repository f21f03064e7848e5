package api

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"strconv"
)

// Event is an entry of the audit log.
type Event struct {
	Sequence uint64 `json:"sequence"`
	Time     int64  `json:"time"`
	Actor    string `json:"actor"`   // a uid, an account of the host, or what in Gatehouse did it
	Address  string `json:"address"` // empty: by the unix socket
	Action   string `json:"action"`  // token.revoke, login.refused and the like
	UID      string `json:"uid"`     // the user that it is about
	Token    string `json:"token"`   // the id of the token that it is about
	Detail   string `json:"detail"`
	Count    int    `json:"count"` // how many such events this entry stands for
}

// Remark returns the detail of the event in words, with the count if that says more.
func (e Event) Remark() string {
	switch {
	case e.Count <= 1, e.Action == "tokens.revoke": // its detail has the count
		return e.Detail
	case e.Detail == "":
		return strconv.Itoa(e.Count) + " times"
	}
	return strconv.Itoa(e.Count) + " " + e.Detail
}

// EventQuery selects events, the oldest first.
type EventQuery struct {
	UID    string // only what is about this user
	Token  string // only what is about this token, by its id or an unambiguous prefix of it
	After  uint64 // the Sequence of the last one already seen
	Last   int    // only this many of the latest records; 0: all
	Follow bool   // go on as things happen

	Filters Filters // those of EventFilters
}

// HistoryQuery asks for the latest events about something.
type HistoryQuery struct {
	UID    string // as in an EventQuery
	Token  string
	After  uint64 // only later ones than this Sequence
	Before uint64 // only earlier ones than this Sequence; 0: up to the latest
	Last   int    // how many at most; 0: 100

	Filters Filters // those of EventFilters
}

// History is the answer. The server reads the audit log backwards, and each call reads only a
// part. If Before is set, the earlier records were not looked at: the same query with
// that Before continues there.
type History struct {
	Events []Event `json:"events"` // the oldest first
	Before uint64  `json:"before"` // 0: there is nothing earlier
	Since  int64   `json:"since"`  // when the record Before was written; 0: there is nothing earlier
	Last   uint64  `json:"last"`   // the latest record that was looked at; ask with it as After for later ones
}

// Verification is what reading the whole audit log found.
type Verification struct {
	First   uint64 `json:"first"`   // the Sequence of the oldest record that is kept
	Last    uint64 `json:"last"`    // and that of the last
	End     string `json:"end"`     // the last record's number and hash, with a colon between them
	Problem string `json:"problem"` // empty: the chain is whole, and has what was asked for
}

// Events lists the audit log.
func (c *Client) Events(ctx context.Context, q EventQuery) iter.Seq2[Event, error] {
	v := q.Filters.values("")
	setNumber(v, "after", q.After)
	setNumber(v, "last", uint64(q.Last))
	set(v, "uid", q.UID)
	set(v, "token", q.Token)
	setFlag(v, "follow", q.Follow)
	return stream[Event](ctx, c, http.MethodGet, "/admin/events?"+v.Encode(), nil)
}

// History looks for the latest events about something.
func (c *Client) History(ctx context.Context, q HistoryQuery) (History, error) {
	v := q.Filters.values("")
	set(v, "uid", q.UID)
	set(v, "token", q.Token)
	setNumber(v, "after", q.After)
	setNumber(v, "before", q.Before)
	setNumber(v, "last", uint64(q.Last))
	return ask[History](ctx, c, http.MethodGet, "/admin/events/history?"+v.Encode(), nil)
}

// Verify has the server read the whole audit log and check its chain. If atLeast is not
// empty, the audit log must also have the record that was the End of an earlier Verification.
func (c *Client) Verify(ctx context.Context, atLeast string) (Verification, error) {
	return ask[Verification](ctx, c, http.MethodGet, "/admin/events/verify?"+url.Values{"atLeast": {atLeast}}.Encode(), nil)
}
