package directory

import (
	"cmp"

	"gatehouse/ldap"
	"gatehouse/server/api"
	"gatehouse/storage"
)

// change is what a sweep would do to one user.
type change struct {
	id     storage.UserID
	uid    string
	action string // api.OffboardSuspend, OffboardResume, OffboardRemove
	why    string
	gone   bool // the source has none of the user's subjects

	subjects []string // of the user in the source
}

// agreement is what must be the same when a held change is confirmed. The reason may differ.
type agreement struct {
	id     storage.UserID
	action string
}

// findings are what the source says about the users it was asked about.
type findings struct {
	changes []change // that would bring the users in step with it
	asked   int      // how many users were asked about
	unknown map[storage.UserID]bool
	doubt   error // why there are unknown ones
}

// compare returns the change for one user, with an empty action if there is none, and
// whether the source tells enough to decide. All the subjects of a user are one
// person. That person may log in if any of them may, and is missing only if all of them
// are.
func (s *Sweeps) compare(h storage.Holder, states map[string]ldap.State) (c change, known bool) {
	c = change{id: h.ID, uid: h.UID, subjects: h.Subjects}
	var stopped ldap.Reason
	gone := ldap.Reason(noLonger)
	open, missing := false, 0
	for _, subject := range h.Subjects {
		st, asked := states[subject]
		switch st.Verdict {
		case ldap.Unknown:
			// A subject that the source can't be asked about lets nobody in, and
			// proves nothing.
			open = open || asked
		case ldap.Missing:
			missing++
			gone = cmp.Or(st.Stop.Reason, gone)
		case ldap.Stopped:
			stopped = st.Stop.Reason
		case ldap.Active:
			if h.SuspendedBy(s.Source) && !h.Suspension.UntilLogin {
				c.action = api.OffboardResume
			}
			return c, true
		}
	}
	switch {
	case open:
		return c, false
	case stopped != "":
		if h.State == storage.UserActive {
			c.action, c.why = api.OffboardSuspend, string(stopped)
		}
	case missing == 0 || missing < len(h.Subjects):
		return c, false
	case h.Only(s.Source):
		c.action, c.why, c.gone = api.OffboardRemove, string(gone), true
	case h.State == storage.UserActive:
		c.action, c.why, c.gone = api.OffboardSuspend, string(gone), true
	}
	return c, true
}

const noLonger = "no longer in the directory"
