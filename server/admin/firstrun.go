package admin

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"gatehouse/storage"
	"gatehouse/storage/disk"
	"gatehouse/storage/record"
)

// FirstUser is the account that the first run makes.
const FirstUser = "me@localhost"

// FirstRun makes the account FirstUser in a store without users, with a random password
// that it writes to the file first-login in the data directory. It returns the file's
// path and the password. If the store has users, or people log in by a directory or a
// provider or may not log in with a password kept here, it does nothing and made is
// false: nobody has asked for that account.
func (a *Admin) FirstRun(ctx context.Context) (file, password string, made bool, err error) {
	cfg := a.Config()
	if a.store.UserCount() > 0 || cfg.LDAP != nil || len(cfg.OAuth) > 0 || !cfg.Logins.Local {
		return "", "", false, nil
	}
	password = rand.Text()
	hash, err := a.Hasher.Hash(ctx, password)
	if err != nil {
		return "", "", false, err
	}
	// Write the file first: nobody could use an account with an unknown password.
	file = a.FirstLoginFile()
	if err := disk.WriteFile(file, []byte(password)); err != nil {
		return "", "", false, err
	}
	_, err = a.store.AddUser(storage.Actor{Name: "first run"}, FirstUser, "", hash)
	return file, password, err == nil, err
}

// FirstLoginFile is where the first account's password is until its first login.
func (a *Admin) FirstLoginFile() string { return filepath.Join(a.store.Dir(), "first-login") }

// FirstLoginDone removes the file with the first account's password, if uid is that
// account.
func (a *Admin) FirstLoginDone(uid string) {
	if record.Fold(uid) != FirstUser {
		return
	}
	if err := os.Remove(a.FirstLoginFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.Log.Warn("remove the first password by hand", "file", a.FirstLoginFile(), "error", err)
	}
}
