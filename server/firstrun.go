package server

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

// FirstRun makes the account FirstUser in a store without users, with a random
// password that it writes to the file first-login in the data directory. It
// returns the file's path and the password. In a store with users, and where people
// log in by a directory or a provider or not with a password at all, it does nothing,
// and made is false: nobody has asked for that account.
func (s *Server) FirstRun(ctx context.Context) (file, password string, made bool, err error) {
	cfg := s.config()
	if s.store.UserCount() > 0 || cfg.LDAP != nil || len(cfg.OAuth) > 0 || !cfg.Logins.Local {
		return "", "", false, nil
	}
	password = rand.Text()
	hash, err := s.hasher.Hash(ctx, password)
	if err != nil {
		return "", "", false, err
	}
	// The file first: an account whose password nobody knows is no use.
	file = s.firstLoginFile()
	if err := disk.WriteFile(file, []byte(password)); err != nil {
		return "", "", false, err
	}
	_, err = s.store.AddUser(storage.Actor{Name: "first run"}, FirstUser, "", hash)
	return file, password, err == nil, err
}

// firstLoginFile is where the first account's password is until its first login.
func (s *Server) firstLoginFile() string { return filepath.Join(s.store.Dir(), "first-login") }

// firstLoginDone removes the file with the first account's password, when uid is
// that account.
func (s *Server) firstLoginDone(uid string) {
	if record.Fold(uid) != FirstUser {
		return
	}
	if err := os.Remove(s.firstLoginFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("remove the first password by hand", "file", s.firstLoginFile(), "error", err)
	}
}
