package server_test

import (
	"net/http"
	"os"
	"testing"
	"time"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
)

func TestActivity(t *testing.T) {
	h := newHouse(t)
	made := h.create("")
	h.Metrics().Second()
	h.Metrics().Second() // nothing happened in this one
	for range 3 {
		h.alive(made.Secret)
	}
	h.dead("nonsense")
	h.ask("POST", "/api/authenticate/userpass").json(`{"username":"alice@example.com","password":"wrong"}`).send().want(http.StatusUnauthorized)
	must.Get(h.admin.Revoke(h.Context(), api.Revocation{IDs: []string{made.ID}}))(t)
	before := h.Metrics().Activity(time.Now())
	h.Metrics().Second()
	v := h.Metrics().Activity(time.Now())
	last := len(v.Requests) - 1
	if last != 119 || v.Requests[last] < 5 || v.Refused[last] < 2 || v.Revoked[last] != 1 {
		t.Errorf("got %d requests, %d refused, %d revoked in the last of %d seconds", v.Requests[last], v.Refused[last], v.Revoked[last], last+1)
	}
	if before.Requests[last] != 0 {
		t.Error("a second is shown that is not over")
	}
	h.Metrics().Second()
	if v := h.Metrics().Activity(time.Now()); v.Requests[last] != 0 || v.Requests[last-1] < 5 {
		t.Errorf("a second later: got %v", v.Requests[last-1:])
	}
}

func TestBackupIsRemembered(t *testing.T) {
	h := newHouse(t)
	status := func() api.StoreHealth {
		st := must.Get(h.admin.Status(h.Context()))(t)
		return st.Store
	}
	h.clock.Pass(api.BackupWithin - time.Hour)
	if got := status(); got.BackupOverdue {
		t.Errorf("a store of less than two days: got %+v", got)
	}
	h.clock.Pass(2 * time.Hour)
	if got := status(); !got.BackupOverdue || h.figures()["gatehouse_backup_overdue"] != 1 {
		t.Errorf("without a backup for two days: got %+v, %v in /metrics", got, h.figures()["gatehouse_backup_overdue"])
	}
	if got := status(); got.LastBackup != 0 || got.Free <= 0 || got.Bytes <= 0 || got.Problem != "" {
		t.Errorf("before: got %+v", got)
	}
	null := must.Get(os.OpenFile(os.DevNull, os.O_WRONLY, 0))(t)
	must.Do(t, h.admin.Backup(h.Context(), null))
	if got := status(); got.LastBackup != 0 {
		t.Errorf("before the client says that it has the backup: got %+v", got)
	}
	must.Do(t, h.admin.NoteBackup(h.Context()))
	h.close()
	h.open()
	if got := status(); got.LastBackup != h.clock.Milli() || got.BackupOverdue {
		t.Errorf("after a restart: got %+v, want a backup at %d", got, h.clock.Milli())
	}
	if got := h.figures(); got["gatehouse_backup_overdue"] != 0 || got["gatehouse_backup_timestamp_seconds"] != float64(h.clock.Milli())/1000 {
		t.Errorf("after a restart: got %v and %v in /metrics", got["gatehouse_backup_overdue"], got["gatehouse_backup_timestamp_seconds"])
	}
	h.clock.Pass(api.BackupWithin + time.Hour)
	if got := status(); !got.BackupOverdue {
		t.Errorf("two days after it: got %+v", got)
	}
}
