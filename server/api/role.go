package api

import "slices"

// Role is what an administrator may do. The server enforces it.
type Role string

// The roles, each of which may do all that the one before may.
const (
	Auditor  Role = "auditor"  // reads
	Operator Role = "operator" // everything except keys, restores, and adding, removing and linking users
	Admin    Role = "admin"    // everything
)

// Roles lists the roles, the least first.
var Roles = []Role{Auditor, Operator, Admin}

// Covers reports whether a role may do what takes at least another one. The zero Role may
// only do what takes none.
func (r Role) Covers(least Role) bool { return r.rank() >= least.rank() }

func (r Role) rank() int { return slices.Index(Roles, r) }
