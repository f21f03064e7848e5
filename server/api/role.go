package api

import "slices"

// Role is what an administrator may do. The server enforces it.
type Role string

// The roles. Each may do everything that the one before it may do.
const (
	Auditor  Role = "auditor"  // reads
	Operator Role = "operator" // everything except keys, restores, and adding, removing and linking users
	Admin    Role = "admin"    // everything
)

// Roles lists the roles, the least first.
var Roles = []Role{Auditor, Operator, Admin}

// Covers reports whether the role may do what needs at least the role least. The zero
// Role may do only what needs no role.
func (r Role) Covers(least Role) bool { return r.rank() >= least.rank() }

func (r Role) rank() int { return slices.Index(Roles, r) }
