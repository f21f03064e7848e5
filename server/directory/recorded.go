package directory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"gatehouse/server/config"
	"gatehouse/storage"
)

// recorded compares the settings of the directory with those that the store records: those
// of the directory that the users' subjects are from. With another base_dn or id_attribute in
// the configuration, or other servers, nobody may be found although nobody has left, and a
// removal can't be undone. A nil *recorded is that of a source without such settings.
type recorded struct {
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
	recordedName = "directory settings"
	recordedKept = 20 * 365 * 24 * time.Hour
)

func newRecorded(store *storage.Store, cfg config.LDAP) *recorded {
	return &recorded{store, settings{cfg.URLs, cfg.BaseDN, cmp.Or(cfg.IDAttribute, "entryUUID")}}
}

// moved reports whether the settings may be those of another directory than the recorded
// ones. Adding or dropping a replica does not make another directory. If nothing is recorded
// yet, they are not.
func (r *recorded) moved() (bool, error) {
	if r == nil {
		return false, nil
	}
	b, err := r.store.Expiring().Get(recordedName)
	if err != nil {
		return false, err
	}
	var before settings
	if len(b) == 0 || json.Unmarshal(b, &before) != nil {
		return false, nil
	}
	return !r.now.same(before), nil
}

// settle records the settings in force as those of the users' directory.
func (r *recorded) settle() {
	if r == nil {
		return
	}
	b, err := json.Marshal(r.now)
	if before, _ := r.store.Expiring().Get(recordedName); err == nil && !bytes.Equal(b, before) {
		r.store.Expiring().Put(recordedName, b, recordedKept)
	}
}

// same reports whether both may mean one directory.
func (d settings) same(other settings) bool {
	return strings.EqualFold(d.BaseDN, other.BaseDN) && strings.EqualFold(d.IDAttribute, other.IDAttribute) &&
		slices.ContainsFunc(d.URLs, func(u string) bool { return slices.Contains(other.URLs, u) })
}
