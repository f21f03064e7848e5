package server

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage"
)

// directoryMark notes which directory the subjects of users are from. With another
// base_dn or id_attribute in the configuration, or other servers, nobody may be found
// although nobody has left, and a removal can't be undone.
type directoryMark struct {
	store *storage.Store
	now   directorySettings
}

// directorySettings are what a subject's meaning hangs on.
type directorySettings struct {
	URLs        []string `json:"urls"`
	BaseDN      string   `json:"base_dn"`
	IDAttribute string   `json:"id_attribute"`
}

const (
	directoryMarkName = "directory settings"
	directoryMarkKept = 20 * 365 * 24 * time.Hour
)

func newDirectoryMark(store *storage.Store, cfg *config.LDAP) *directoryMark {
	return &directoryMark{store, directorySettings{cfg.URLs, cfg.BaseDN, cmp.Or(cfg.IDAttribute, "entryUUID")}}
}

// moved reports whether the settings are those of another directory than at the last
// sweep. A replica more or less makes no other directory.
func (m *directoryMark) moved() (bool, error) {
	b, err := m.store.Remembered(directoryMarkName)
	if err != nil {
		return false, err
	}
	var before directorySettings
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

// settle takes the settings as they are now for right.
func (m *directoryMark) settle() {
	if b, err := json.Marshal(m.now); err == nil {
		m.store.Remember(directoryMarkName, b, directoryMarkKept)
	}
}

// same reports whether both may be of one directory.
func (d directorySettings) same(other directorySettings) bool {
	return strings.EqualFold(d.BaseDN, other.BaseDN) && strings.EqualFold(d.IDAttribute, other.IDAttribute) &&
		slices.ContainsFunc(d.URLs, func(u string) bool { return slices.Contains(other.URLs, u) })
}
