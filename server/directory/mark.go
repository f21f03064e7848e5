package directory

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage"
)

// mark remembers the settings of the directory that the users' subjects are from. With
// another base_dn or id_attribute in the configuration, or other servers, nobody may be
// found although nobody has left, and a removal can't be undone.
type mark struct {
	store *storage.Store
	now   settings
}

// settings are the settings that decide what a subject means.
type settings struct {
	URLs        []string `json:"urls"`
	BaseDN      string   `json:"base_dn"`
	IDAttribute string   `json:"id_attribute"`
}

const (
	markName = "directory settings"
	markKept = 20 * 365 * 24 * time.Hour
)

func newMark(store *storage.Store, cfg config.LDAP) *mark {
	return &mark{store, settings{cfg.URLs, cfg.BaseDN, cmp.Or(cfg.IDAttribute, "entryUUID")}}
}

// moved reports whether the settings may be those of another directory than the recorded
// ones. Adding or dropping a replica does not make another directory.
func (m *mark) moved() (bool, error) {
	b, err := m.store.Memory().Get(markName)
	if err != nil {
		return false, err
	}
	var before settings
	if len(b) == 0 || json.Unmarshal(b, &before) != nil {
		m.settle()
		return false, nil
	}
	if !m.now.same(before) {
		return true, nil
	}
	if !slices.Equal(m.now.URLs, before.URLs) {
		m.settle()
	}
	return false, nil
}

// settle records the settings in force as those of the users' directory.
func (m *mark) settle() {
	if b, err := json.Marshal(m.now); err == nil {
		m.store.Memory().Put(markName, b, markKept)
	}
}

// same reports whether both may mean one directory.
func (d settings) same(other settings) bool {
	return strings.EqualFold(d.BaseDN, other.BaseDN) && strings.EqualFold(d.IDAttribute, other.IDAttribute) &&
		slices.ContainsFunc(d.URLs, func(u string) bool { return slices.Contains(other.URLs, u) })
}
