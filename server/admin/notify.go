package admin

import (
	"net/http"
	"net/mail"

	"gatehouse/server/api"
	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// testNotices serves POST /admin/notify/test: it sends a notice to each target, and returns
// what they answered.
func (a *Admin) testNotices(w http.ResponseWriter, r *route.Request, in api.NoticeTest) error {
	if in.To != "" {
		if one, err := mail.ParseAddress(in.To); err != nil || one.Address != in.To {
			return reply.Refuse(http.StatusBadRequest, "to: write a mail address such as ada@example.com")
		}
	}
	out := api.NoticeTested{Answers: []api.NoticeAnswer{}}
	for _, one := range a.Notices.Test(r.Context(), r.Peer, in.To) {
		v := api.NoticeAnswer{Target: one.Target, Answer: one.Answer}
		if one.Err != nil {
			v.Error = one.Err.Error()
		}
		out.Answers = append(out.Answers, v)
	}
	return reply.OK(w, out, nil)
}
