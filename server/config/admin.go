package config

import (
	"fmt"
	"maps"
	"os/user"
	"slices"
	"strconv"
)

// Admin says who may administer besides root and the owner of the data directory.
type Admin struct {
	Groups map[string]string `toml:"groups"` // a role (admin, operator, auditor) by the name of a unix group
}

// roles are the values of Groups. Package api says what they mean.
var roles = []string{"admin", "operator", "auditor"}

func (c Admin) check(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		if !slices.Contains(roles, c.Groups[name]) {
			f.add("admin.groups."+name, "%q is not a role: write admin, operator or auditor", c.Groups[name])
		}
	}
}

func (c Admin) checkGroups(f *faults) {
	for _, name := range slices.Sorted(maps.Keys(c.Groups)) {
		if _, err := groupID(name); err != nil {
			f.add("admin.groups."+name, "%w", err)
		}
	}
}

// Roles returns the role of the members of each group, by the group's number. It leaves
// out a group that this host no longer knows.
func (c Admin) Roles() map[uint32]string {
	byGID := make(map[uint32]string, len(c.Groups))
	for name, role := range c.Groups {
		if gid, err := groupID(name); err == nil {
			byGID[gid] = role
		}
	}
	return byGID
}

// groupID returns the number of a group of this host.
func groupID(name string) (uint32, error) {
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("group %q does not exist", name)
	}
	gid, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(gid), err
}
