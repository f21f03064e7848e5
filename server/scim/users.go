package scim

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"

	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
	"gatehouse/storage/order"
)

// mostListed is how many users a page of a list has at most.
const mostListed = 200

// list serves GET /scim/v2/Users: the user that a filter names, or a page of all users who
// came from the provider.
func (s *SCIM) list(w http.ResponseWriter, r *route.Request, c *caller) error {
	q := r.URL.Query()
	start, err := number(q.Get("startIndex"), 1, 1)
	if err != nil {
		return err
	}
	count, err := number(q.Get("count"), 0, mostListed)
	if err != nil {
		return err
	}
	count = min(count, mostListed)
	page := listing{Schemas: []string{listSchema}, Start: start, Users: []user{}}
	if filter := q.Get("filter"); filter != "" {
		f, err := parseFilter(filter)
		if err != nil {
			return err
		}
		u, err := c.find(f)
		if err != nil && !errors.Is(err, storage.ErrNoUser) {
			return err
		}
		if err == nil {
			page.Total = 1
		}
		if err == nil && start == 1 && count > 0 {
			page.Users = append(page.Users, s.show(r, c, u))
		}
	} else if err := s.fill(r, c, &page, count); err != nil {
		return err
	}
	page.PerPage = len(page.Users)
	return send(w, http.StatusOK, page)
}

// fill fills a page of the list of all users, in the turn of the caller.
func (s *SCIM) fill(r *route.Request, c *caller, page *listing, count int) error {
	give, err := s.Turns.Take(r.Context(), c.id)
	if err != nil {
		return err
	}
	defer give()
	if page.Total, err = c.count(); err != nil || count == 0 || page.Start > page.Total {
		return err
	}
	n := 0
	for u, err := range s.Store.Users(storage.UserFilter{Order: order.Name, Limit: page.Start - 1 + count, Match: c.has}) {
		if err != nil {
			return err
		}
		if n++; n >= page.Start {
			page.Users = append(page.Users, s.show(r, c, u.User))
		}
	}
	return nil
}

// number reads a number of a query. A number below least counts as least, and no number is
// too large: "all of them" is often written 2147483647 (RFC 7644, section 3.4.2.4).
func number(text string, least, missing int) (int, error) {
	if text == "" {
		return missing, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // beyond the range, n is at its end
		return 0, refuse(http.StatusBadRequest, "invalidValue", "startIndex, count: write numbers")
	}
	return max(n, least), nil
}

// find returns the user that a filter names. An externalId that the provider has not told is
// looked for among the subjects of its logins: for Okta, they are the same.
func (p *people) find(f filter) (u storage.User, err error) {
	if f.attribute == "username" {
		u, err = p.store.User(f.value)
	} else {
		u, err = p.store.UserByIdentity(storage.Identity{Source: p.source, Subject: f.value})
		if errors.Is(err, storage.ErrNoUser) {
			u, err = p.store.UserByIdentity(storage.Identity{Source: p.provider, Subject: f.value})
		}
	}
	if err == nil && !p.shows(u) {
		err = storage.ErrNoUser
	}
	return u, err
}

// shows reports whether a user exists for the provider: not for others, and not once it has
// said that the person is deleted.
func (p *people) shows(u storage.User) bool {
	return u.Of(p.provider) && u.State != storage.UserRemoved && !u.IsService() && u.ToldBy(p.source).State != storage.ToldGone
}

var errNobody = reply.Refuse(http.StatusNotFound, "The provider has no such user here")

// userIn returns the user with the id in the path.
func (p *people) userIn(r *route.Request) (u storage.User, err error) {
	b, err := hex.DecodeString(r.PathValue("id"))
	if err != nil || len(b) != 8 {
		return u, errNobody
	}
	u, err = p.store.UserByID(storage.UserID(binary.BigEndian.Uint64(b)))
	if errors.Is(err, storage.ErrNoUser) || err == nil && (!p.shows(u) || u.ID.Opaque() != r.PathValue("id")) {
		return u, errNobody
	}
	return u, err
}

func (s *SCIM) get(w http.ResponseWriter, r *route.Request, c *caller) error {
	u, err := c.userIn(r)
	if err != nil {
		return err
	}
	return send(w, http.StatusOK, s.show(r, c, u))
}

func (s *SCIM) put(w http.ResponseWriter, r *route.Request, c *caller) error {
	return s.change(w, r, c, readUser)
}

func (s *SCIM) patch(w http.ResponseWriter, r *route.Request, c *caller) error {
	return s.change(w, r, c, readPatch)
}

func (s *SCIM) change(w http.ResponseWriter, r *route.Request, c *caller, read func(*http.Request) (wish, error)) error {
	u, err := c.userIn(r)
	if err != nil {
		return err
	}
	in, err := read(r.Request)
	if err != nil {
		return err
	}
	if in.active != nil || in.externalID != "" {
		if u, err = s.tell(r, c, u, in); err != nil {
			return conflict(err)
		}
	}
	return send(w, http.StatusOK, s.show(r, c, u))
}

// tell passes on what a request says of a user. What stops somebody is never refused for
// being one change too many.
func (s *SCIM) tell(r *route.Request, c *caller, u storage.User, in wish) (out storage.User, err error) {
	state := cmp.Or(u.ToldBy(c.source).State, storage.ToldActive)
	if in.active != nil {
		state = storage.ToldInactive
		if *in.active {
			state = storage.ToldActive
		}
	}
	if state == storage.ToldActive { // what stops somebody is never refused
		if err := checkExternalID(in.externalID); err != nil {
			return out, err
		}
	}
	do := func() error {
		out, err = c.hear(r.Context(), c, u.ID, state, in.externalID)
		return err
	}
	if state != storage.ToldActive {
		err = do()
	} else {
		err = s.Changes.Spend(c.id, do)
	}
	return out, reply.UnlessGone(err, errNobody)
}

func (s *SCIM) remove(w http.ResponseWriter, r *route.Request, c *caller) error {
	u, err := c.userIn(r)
	if err != nil {
		return err
	}
	if _, err := c.hear(r.Context(), c, u.ID, storage.ToldGone, ""); err != nil {
		return reply.UnlessGone(err, errNobody)
	}
	return reply.NoContent(w, nil)
}

// create serves POST /scim/v2/Users: a person who may log in by the provider later. The new
// user has no login and no token of its own. A person who was deleted at the provider and is
// not removed here yet comes back.
func (s *SCIM) create(w http.ResponseWriter, r *route.Request, c *caller) error {
	in, err := readNewUser(r.Request)
	if err != nil {
		return err
	}
	u, err := c.deleted(in)
	switch {
	case errors.Is(err, storage.ErrNoUser):
		err = s.Changes.Spend(c.id, func() (err error) {
			u, err = s.Store.Announce(c.by, storage.Announcement{
				Provider: c.provider, ExternalID: in.externalID, UID: in.userName, Name: in.name,
			}, c.source+", "+c.token)
			return err
		})
		if err == nil && in.active != nil && !*in.active {
			u, err = s.tell(r, c, u, in.wish)
		}
	case err == nil:
		back := in.wish
		if active := true; back.active == nil {
			back.active = &active
		}
		u, err = s.tell(r, c, u, back)
	}
	if err != nil {
		return conflict(err)
	}
	shown := s.show(r, c, u)
	w.Header().Set("Location", shown.Meta.Location)
	return send(w, http.StatusCreated, shown)
}

// deleted returns the user that a new one would be, if the provider has deleted it.
func (p *people) deleted(in newUser) (u storage.User, err error) {
	u, err = p.store.User(in.userName)
	if errors.Is(err, storage.ErrNoUser) && in.externalID != "" {
		u, err = p.store.UserByIdentity(storage.Identity{Source: p.source, Subject: in.externalID})
	}
	if err == nil && (!u.Of(p.provider) || u.ToldBy(p.source).State != storage.ToldGone) {
		err = storage.ErrOtherAccount
		if u.Of(p.provider) {
			err = refuse(http.StatusConflict, "uniqueness", "There is a user with this userName or externalId")
		}
	}
	if err == nil && p.another(u, in.externalID) {
		err = refuse(http.StatusConflict, "uniqueness", "The userName is that of a deleted user with another externalId, who is removed a day after the deletion: try again then, or ask an administrator for `gatehouse user remove`")
	}
	return u, err
}

// another reports whether an externalId is that of another person than a deleted user: a mail
// address was given to somebody new, for whom the old tokens must not work again.
func (p *people) another(u storage.User, externalID string) bool {
	for _, known := range u.Subjects(p.source) {
		if externalID != "" && known != externalID && known != u.ID.Opaque() {
			return true
		}
	}
	return false
}

// conflict says what to do about what another user has.
func conflict(err error) error {
	switch {
	case errors.Is(err, storage.ErrOtherAccount):
		return refuse(http.StatusConflict, "uniqueness", "The userName belongs to an account that does not log in by this provider: an administrator can link the two with `gatehouse user link`")
	case errors.Is(err, storage.ErrLinked):
		return refuse(http.StatusConflict, "uniqueness", "The externalId belongs to another user")
	}
	return err
}
