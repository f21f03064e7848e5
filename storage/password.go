package storage

// PasswordHash returns the user's password hash, empty for a user without one.
func (s *Store) PasswordHash(u User) (PasswordHash, error) {
	return s.passwords.Open(uint64(u.ID), u.Password)
}
