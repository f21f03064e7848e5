package server

import (
	"errors"
	"net/http"

	"gatehouse/server/oauth"
	"gatehouse/storage"
)

// admitIdentity is the one place where somebody whom a directory or a provider
// has vouched for becomes a user.
func (s *Server) admitIdentity(a attempt, id storage.Identity, uid, name string) (storage.User, error) {
	if storage.CheckUID(uid) != nil {
		s.log.Warn("a login has no e-mail address to be named by", "source", id.Source, "subject", id.Subject, "uid", uid)
		return storage.User{}, refuse(http.StatusForbidden, "There is no e-mail address for this account: ask an administrator")
	}
	u, err := s.store.LogIn(storage.Actor{Name: uid, Address: a.from.String()}, id, uid, name)
	if errors.Is(err, storage.ErrOtherAccount) {
		s.log.Warn("a login is refused, since its address is another account's; if both are one person, link them with `gatehouse user link UID SOURCE SUBJECT`",
			"uid", uid, "source", id.Source, "subject", id.Subject)
	}
	if err != nil {
		return u, err
	}
	if u.State != storage.UserActive {
		return u, errInvalid
	}
	return u, nil
}

// admitClaims admits the person whom a provider vouches for, as the user mail.
// A user whom the person has been admitted as before keeps its uid, if that is
// still one of the person's addresses or came from another source: otherwise
// somebody with two addresses would be renamed back and forth.
func (s *Server) admitClaims(a attempt, p *oauth.Provider, c oauth.Claims, mail string) (storage.User, error) {
	id := storage.Identity{Source: p.Name(), Subject: c.Subject}
	u, err := s.store.UserByIdentity(id)
	if err != nil && !errors.Is(err, storage.ErrNoUser) {
		return u, err
	}
	if err == nil {
		if _, theirs := claimed(c, u.UID); theirs || u.Source != p.Name() {
			mail = u.UID
		}
	}
	return s.admitIdentity(a, id, mail, c.Name)
}

// claimed looks for mail, in whatever case, among the addresses that a provider
// vouches for, and returns it as the provider spells it.
func claimed(c oauth.Claims, mail string) (string, bool) {
	for _, known := range c.Emails {
		if storage.Fold(known) == storage.Fold(mail) {
			return known, true
		}
	}
	return "", false
}
