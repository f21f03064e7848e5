package server_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"gatehouse/ldap/ldaptest"
	"gatehouse/server/config"
	"gatehouse/storage"
	"gatehouse/storage/storagetest/must"
)

// With other settings of the directory nobody may be found although nobody has left. Such
// removals are held, even if they are few. What a person's own entry proves is still
// done.
func TestDirectoryChanged(t *testing.T) {
	for what, change := range map[string]func(*config.LDAP){
		"id_attribute": func(c *config.LDAP) { c.IDAttribute = "uid" },
		"base_dn":      func(c *config.LDAP) { c.BaseDN = "ou=elsewhere," + ldaptest.Base },
	} {
		t.Run(what, func(t *testing.T) {
			h, s := newDirectoryHouse(t)
			tokens := []string{h.ldapToken("alice"), h.ldapToken("bob")}
			h.sweep(2)
			right := *h.cfg.LDAP

			h.close()
			change(h.cfg.LDAP)
			h.open()
			h.sweep(3)
			for _, token := range tokens {
				h.alive(token)
			}
			if held := h.held(); len(held.Changes) != 2 || held.Asked != 2 || held.Why != "base_dn, id_attribute or urls have changed" {
				t.Errorf("got %+v held, want both", held)
			}
			h.wantTold(storage.ActionOffboardHeld, "directory  of 2 asked about, because base_dn, id_attribute or urls have changed; `gatehouse user offboard` shows them")
			h.wantTold(storage.ActionUserRemove)

			h.close() // also over a restart, and until the settings are right again
			h.open()
			h.sweep(3)
			h.alive(tokens[0])
			h.close()
			*h.cfg.LDAP = right
			h.open()
			h.sweep(3)
			if held := h.held(); len(held.Changes) != 0 {
				t.Errorf("got %+v held with the settings as before", held)
			}
			s.Remove(ldaptest.Person("bob"))
			h.sweep(2)
			h.dead(tokens[1])
			h.alive(tokens[0])

			// If the change was intended, one confirmation is enough.
			h.close()
			change(h.cfg.LDAP)
			h.open()
			h.sweep(1)
			must.Do(t, h.admin.ConfirmOffboard(t.Context()))
			h.dead(tokens[0])
			kept, err := h.store.Expiring().Get("directory settings")
			if err != nil || !strings.Contains(string(kept), fmt.Sprintf(`"base_dn":%q`, h.cfg.LDAP.BaseDN)) ||
				!strings.Contains(string(kept), fmt.Sprintf(`"id_attribute":%q`, cmp.Or(h.cfg.LDAP.IDAttribute, "entryUUID"))) {
				t.Errorf("after the confirmation: got %s, %v, want the settings as they are", kept, err)
			}
		})
	}
}
