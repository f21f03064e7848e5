package login

import (
	"errors"
	"strings"

	"gatehouse/server/guard"
	"gatehouse/server/ipaddr"
	"gatehouse/server/logout"
	"gatehouse/server/oauth"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// Admit is the one place where somebody whom a directory or a provider
// has vouched for becomes a user.
func (ls *Logins) Admit(a guard.Attempt, in storage.Login) (storage.User, error) {
	actor := storage.Actor{Address: ipaddr.Text(a.From)}
	if len(in.Addresses) > 0 {
		actor.Name = in.Addresses[0]
	}
	u, err := ls.Store.LogIn(actor, in)
	switch {
	case errors.Is(err, storage.ErrOtherAccount):
		ls.Log.Warn("a login was refused, because its address belongs to another account; if both are the same person, link them with `gatehouse user link UID SOURCE SUBJECT`",
			"uid", strings.Join(in.Addresses, " "), "source", in.Source, "subject", in.Subject, "address", a.From)
	case errors.Is(err, storage.ErrNoAddress):
		ls.Log.Warn("a login was refused, because it has no e-mail address", "source", in.Source, "subject", in.Subject, "uid", strings.Join(in.Addresses, " "), "address", a.From)
	}
	if err != nil {
		return u, err
	}
	if u.State != storage.UserActive {
		return u, reply.ErrInvalid
	}
	return u, nil
}

// admitClaims admits the person whom a provider vouches for.
func (ls *Logins) admitClaims(a guard.Attempt, p *oauth.Provider, c oauth.Claims) (storage.User, error) {
	if len(c.Emails) == 0 && len(c.Unverified) > 0 {
		ls.Log.Info("an e-mail address from a provider was not used", "provider", p.Name(), "reason", unverified(c),
			"uid", strings.Join(c.Unverified, " "), "subject", c.Subject, "address", a.From)
	}
	id := storage.Identity{Source: p.Name(), Subject: c.Subject}
	u, err := ls.Recheck.Admit(p, c, func() (storage.User, error) {
		return ls.Admit(a, storage.Login{Identity: id, Addresses: c.Emails, Name: c.Name})
	})
	if err == nil {
		logout.NoteSession(ls.Store, p.Name(), c.Session, u.ID)
	}
	return u, err
}

// claimed looks for mail, in any case, among a provider's addresses, and returns it
// as the provider spells it.
func claimed(mails []string, mail string) (string, bool) {
	for _, known := range mails {
		if record.Fold(known) == record.Fold(mail) {
			return known, true
		}
	}
	return "", false
}
