package api

import "slices"

// Role is what an administrator may do. The server enforces it.
type Role string

// The roles. Each includes the one before it, with one exception: an auditor may list the
// keys, and an operator may not.
const (
	Auditor  Role = "auditor"  // reads
	Operator Role = "operator" // see May
	Admin    Role = "admin"    // everything
)

// Roles lists the roles, the least first.
var Roles = []Role{Auditor, Operator, Admin}

// May says what somebody with the role does, for messages.
func (r Role) May() string {
	switch r {
	case Auditor:
		return "reads everything and changes nothing"
	case Operator:
		return "does everything except key, restore, service remove, and user add, remove, link and unlink"
	case Admin:
		return "does everything"
	}
	return "does nothing"
}

// Who describes the person who calls the administrative API.
type Who struct {
	Actor string `json:"actor"` // in the audit log
	Role  Role   `json:"role"`
}

// String is a sentence about the person.
func (w Who) String() string {
	return w.Actor + " has the role " + string(w.Role) + ", which " + w.Role.May()
}

// Refusal says that something needs the role least.
func (w Who) Refusal(least Role) string {
	return "This needs the role " + string(least) + ": " + w.String()
}

// Covers reports whether the role may do what needs at least the role least. The zero
// Role may do only what needs no role.
func (r Role) Covers(least Role) bool { return r.rank() >= least.rank() }

func (r Role) rank() int { return slices.Index(Roles, r) }
