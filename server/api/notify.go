package api

import (
	"context"
	"net/http"
)

// NoticeTest asks for a notice to each target, to see whether it works.
type NoticeTest struct {
	To string `json:"to,omitempty"` // the address for mail; empty: the sender's
}

// NoticeTested is what came of a NoticeTest. Without targets there are no answers.
type NoticeTested struct {
	Answers []NoticeAnswer `json:"answers"`
}

// NoticeAnswer is what a target answered.
type NoticeAnswer struct {
	Target string `json:"target"` // command, webhook or mail
	Answer string `json:"answer,omitempty"`
	Error  string `json:"error,omitempty"` // why it did not take the notice; empty: it did
}

// TestNotices sends a notice to each target, and waits for the answers.
func (c *Client) TestNotices(ctx context.Context, t NoticeTest) (NoticeTested, error) {
	return ask[NoticeTested](ctx, c, http.MethodPost, "/admin/notify/test", t)
}
