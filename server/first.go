package server

import (
	"context"
	"crypto/rand"

	"gatehouse/storage"
)

// FirstUser is the account that the first run makes.
const FirstUser = "me@localhost"

// FirstRun makes the first account of an empty store, leaves its password in
// the file first-login in the data directory, and returns that file's name and
// the password. Later it does nothing: made is false.
func (s *Server) FirstRun(ctx context.Context) (file, password string, made bool, err error) {
	if s.store.UserCount() > 0 {
		return "", "", false, nil
	}
	password = rand.Text()
	hash, err := s.hasher.hash(ctx, password)
	if err != nil {
		return "", "", false, err
	}
	// The file first: an account whose password nobody knows is no use.
	file = s.firstLoginFile()
	if err := storage.WriteFile(file, []byte(password)); err != nil {
		return "", "", false, err
	}
	_, err = s.store.AddUser(storage.Actor{Name: "first run"}, FirstUser, "", hash)
	return file, password, err == nil, err
}
