package tui

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"gatehouse/server/api"
)

// noon is the time of all tests.
var noon = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)

// fake answers like the server, from slices. It is for tests of layout and keys; the
// tests of the binary use the real store.
type fake struct {
	sync.Mutex
	users  []api.User
	tokens []api.Token
	events []api.Event
	status api.Status
	err    error // of every call

	unverified []string // uids
	changes    []string
	asked      int  // listings
	read       int  // rows of them
	job        bool // a bulk revocation is under way, and may be stopped
}

func (f *fake) do(change string, args ...any) error {
	f.Lock()
	defer f.Unlock()
	if f.err == nil && change != "" {
		f.changes = append(f.changes, fmt.Sprintf(change, args...))
	}
	return f.err
}

func (f *fake) Status(context.Context) (api.Status, error) { return f.status, f.do("") }

// page yields the rows after a cursor.
func page[T any](f *fake, rows []T, compare func(x, y T) int, cursor func(T) string, after string, reverse bool, limit int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		if err := f.do(""); err != nil {
			yield(zero, err)
			return
		}
		f.asked++
		slices.SortFunc(rows, func(x, y T) int {
			if reverse {
				x, y = y, x
			}
			return compare(x, y)
		})
		if after != "" {
			rows = rows[slices.IndexFunc(rows, func(r T) bool { return cursor(r) == after })+1:]
		}
		for i, r := range rows {
			if limit > 0 && i == limit {
				return
			}
			if f.read++; !yield(r, nil) {
				return
			}
		}
	}
}

func (f *fake) Users(_ context.Context, q api.UserQuery) iter.Seq2[api.User, error] {
	compare := func(x, y api.User) int {
		by := map[api.Order]int{api.ByLastUsed: cmp.Compare(x.LastUsed, y.LastUsed), api.ByCreated: cmp.Compare(x.Created, y.Created), api.ByTokens: cmp.Compare(x.Tokens, y.Tokens)}
		return cmp.Or(by[q.Order], strings.Compare(x.UID, y.UID))
	}
	return page(f, f.usersOf(q), compare, func(u api.User) string { return u.Cursor(q.Order) }, q.After, q.Reverse, q.Limit)
}

func (f *fake) usersOf(q api.UserQuery) []api.User {
	var out []api.User
	for _, u := range f.users {
		if state := strings.Join(q.Filters["state"], ""); state == api.StateUnverified && !slices.Contains(f.unverified, u.UID) {
			continue
		}
		source, locked := strings.Join(q.Filters["source"], ""), len(q.Filters["locked"]) > 0
		if source != "" && source != u.Source || locked && u.State != api.StateDisabled {
			continue
		}
		if fits(q.Words, u.UID, u.Name) && fits(strings.Join(q.Filters["search"], " "), u.UID, u.Name) {
			out = append(out, u)
		}
	}
	return out
}

func (f *fake) UserCount(_ context.Context, q api.UserQuery) (api.Count, error) {
	return api.Count{Rows: len(f.usersOf(q))}, f.do("")
}

func (f *fake) User(_ context.Context, uid string) (api.UserDetail, error) {
	for _, u := range f.users {
		if u.UID == uid {
			d := api.UserDetail{User: u, Days: days(int(u.Created % 7))}
			if u.Source != "local" {
				d.Identities = []api.Identity{{Source: u.Source, Subject: "0f3a6c1e-" + strconv.FormatInt(u.Created, 16)}}
			}
			if u.UID == "zoë@example.com" {
				d.Sessions = []api.Session{{LastUsed: before(3 * time.Minute), Address: "192.0.2.4\x1b[2J"}, {LastUsed: before(5 * time.Hour)}}
			}
			if u.State == api.StateDisabled {
				d.LoginDelay = &api.LoginDelay{Failures: 7, Until: noon.Add(4*time.Minute + 10*time.Second).UnixMilli()}
			}
			return d, f.do("")
		}
	}
	return api.UserDetail{}, &api.Error{Status: http.StatusNotFound, Message: "No such user"}
}

// days returns the uses of thirty days.
func days(seed int) []int64 {
	out := make([]int64, 30)
	for i := range out {
		out[i] = int64((i*i*7+seed*13)%97) * int64(i%5)
	}
	return out
}

func (f *fake) AddUser(_ context.Context, n api.NewUser) (api.Password, error) {
	if !strings.Contains(n.UID, "@") {
		return api.Password{}, &api.Error{Status: http.StatusBadRequest, Message: "A uid is an e-mail address"}
	}
	return api.Password{Password: "made-password"}, f.do("add %s %s", n.UID, n.Name)
}

func (f *fake) AddService(_ context.Context, n api.NewService) (api.Service, error) {
	if strings.Contains(n.Name, "@") {
		return api.Service{}, &api.Error{Status: http.StatusBadRequest, Message: "A name has no @"}
	}
	return api.Service{}, f.do("service %s of %s, then %s: %s", n.Name, n.Owner, n.Successor, n.Description)
}

func (f *fake) SetPassword(_ context.Context, uid, _ string) (api.Password, error) {
	return api.Password{Password: "made-password"}, f.do("password %s", uid)
}

func (f *fake) UnlockUser(_ context.Context, uid string) error  { return f.do("unlock %s", uid) }
func (f *fake) DisableUser(_ context.Context, uid string) error { return f.do("disable %s", uid) }

func (f *fake) EnableUser(_ context.Context, uid string) error { return f.do("enable %s", uid) }

func (f *fake) Tokens(_ context.Context, q api.TokenQuery) iter.Seq2[api.Token, error] {
	compare := func(x, y api.Token) int {
		if q.Order == api.ByCreated {
			return cmp.Or(cmp.Compare(x.Created, y.Created), strings.Compare(x.ID, y.ID))
		}
		return cmp.Or(cmp.Compare(x.LastUsed, y.LastUsed), strings.Compare(x.ID, y.ID))
	}
	return page(f, f.tokensOf(q), compare, func(t api.Token) string { return t.Cursor(q.Order) }, q.After, q.Reverse, q.Limit)
}

func (f *fake) tokensOf(q api.TokenQuery) []api.Token {
	f.Lock()
	defer f.Unlock()
	var out []api.Token
	for _, t := range f.tokens {
		has := func(name string) string { return strings.Join(q.Filters[name], " ") }
		days, err := time.ParseDuration(strings.TrimSuffix(has("idle"), "d") + "h")
		switch {
		case has("state") != "" && has("state") != t.State,
			has("user") != "" && has("user") != t.UID, has("never-used") != "" && t.Used(), has("used-after") != "" && !t.Used(), !q.Revoked && has("state") == "" && t.State == api.StateRevoked,
			!fits(q.Words, t.UID, t.ID, t.Name), !fits(has("search"), t.UID, t.ID, t.Name), err == nil && t.LastUsed > noon.Add(-days*24).UnixMilli():
		default:
			out = append(out, t)
		}
	}
	return out
}

// fits reports whether each word is in one of the texts. It knows no filters.
func fits(words string, texts ...string) bool {
	for _, w := range strings.Fields(words) {
		if !slices.ContainsFunc(texts, func(s string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(w)) }) {
			return false
		}
	}
	return true
}

func (f *fake) Matching(_ context.Context, q api.TokenQuery) (api.Matching, error) {
	n := len(f.tokensOf(q))
	return api.Matching{Rows: n, Set: fmt.Sprint(n), At: noon.UnixMilli()}, f.do("")
}

func (f *fake) TokenCount(_ context.Context, q api.TokenQuery) (api.Count, error) {
	return api.Count{Rows: len(f.tokensOf(q))}, f.do("")
}

func (f *fake) Token(_ context.Context, id string) (api.TokenDetail, error) {
	if err := f.do(""); err != nil {
		return api.TokenDetail{}, err
	}
	for i, t := range f.tokens {
		if t.ID == id {
			t.CreatedBy = t.UID
			return api.TokenDetail{Token: t, Days: days(i), Seen: []api.SeenFrom{
				{Address: t.LastAddress, Agent: "curl/8.5.0", Time: t.LastUsed},
				{Address: "203.0.113.77", Agent: "evil\x1b]0;agent\x07/1.0", Time: t.LastUsed - 5000_000},
			}}, nil
		}
	}
	return api.TokenDetail{}, &api.Error{Status: http.StatusNotFound, Message: "No such token"}
}

func (f *fake) Revoke(_ context.Context, r api.Revocation) (api.Revoked, error) {
	if err := f.do("revoke %s", strings.Join(r.IDs, " ")); err != nil {
		return api.Revoked{}, err
	}
	f.Lock()
	defer f.Unlock()
	n := 0
	for i := range f.tokens {
		if slices.Contains(r.IDs, f.tokens[i].ID) && f.tokens[i].State != api.StateRevoked {
			f.tokens[i].State = api.StateRevoked
			n++
		}
	}
	return api.Revoked{Revoked: n}, nil
}

// RevokeMatching works in steps of 1000.
func (f *fake) RevokeMatching(ctx context.Context, q api.BulkRevocation) iter.Seq2[api.Progress, error] {
	return func(yield func(api.Progress, error) bool) {
		all := f.tokensOf(api.TokenQuery{Filters: q.Filters, Words: q.Words})
		if q.Set != "" && q.Set != fmt.Sprint(len(all)) {
			yield(api.Progress{}, &api.Error{Status: http.StatusConflict, Message: "Nothing was revoked: others match by now"})
			return
		}
		p := api.Progress{Job: "job-1", Total: len(all)}
		f.job = true
		for yield(p, nil) && !p.Done {
			var ids []string
			for _, t := range all[p.Revoked:min(p.Revoked+1000, len(all))] {
				ids = append(ids, t.ID)
			}
			if f.job {
				n, err := f.Revoke(ctx, api.Revocation{IDs: ids})
				if err != nil {
					yield(p, err)
					return
				}
				p.Revoked += n.Revoked
			}
			p.Done, p.Stopped = !f.job || p.Revoked == p.Total, !f.job
			f.job = f.job && !p.Done // it is over before anybody hears of it
		}
	}
}

func (f *fake) StopRevocation(_ context.Context, job string) error {
	if !f.job {
		return &api.Error{Status: http.StatusNotFound, Message: "This revocation is over"}
	}
	f.job = f.job && job != "job-1"
	return f.do("")
}

func (f *fake) History(_ context.Context, q api.HistoryQuery) (h api.History, err error) {
	for _, e := range f.events {
		if q.Before > 0 && e.Sequence >= q.Before {
			break
		}
		if h.Last = e.Sequence; e.Sequence > q.After && isOf(e, q.UID, q.Token, q.Filters) {
			h.Events = append(h.Events, e)
		}
	}
	if n := len(h.Events) - q.Last; q.Last > 0 && n > 0 {
		h.Events = h.Events[n:]
		h.Before, h.Since = h.Events[0].Sequence, h.Events[0].Time
	}
	return h, f.do("")
}

// isOf reports whether an event is one of those asked for. The only filters are by and
// action.
func isOf(e api.Event, uid, token string, f api.Filters) bool {
	for name, of := range map[string]string{"by": e.Actor, "action": e.Action} {
		if v := strings.Join(f[name], " "); v != "" && v != of && !strings.HasPrefix(of, v+".") {
			return false
		}
	}
	return (token == "" || strings.HasPrefix(e.Token, token)) && (uid == "" || uid == e.UID)
}

func (f *fake) Events(_ context.Context, q api.EventQuery) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if err := f.do(""); err != nil {
			yield(api.Event{}, err)
			return
		}
		if n := len(f.events); q.Last > 0 && n > 0 {
			q.After = max(q.After, f.events[n-1].Sequence-min(f.events[n-1].Sequence, uint64(q.Last)))
		}
		for _, e := range f.events {
			if e.Sequence > q.After && isOf(e, q.UID, q.Token, q.Filters) && !yield(e, nil) {
				return
			}
		}
	}
}
