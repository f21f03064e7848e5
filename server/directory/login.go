package directory

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"gatehouse/ldap"
	"gatehouse/server/guard"
	"gatehouse/server/reply"
	"gatehouse/storage"
)

// LogIn returns the user whom the directory knows by that name and
// password; at a person's first login, it makes the user.
//
// Failures are counted twice. The count of the typed name decides what the client is
// told, before the directory is asked: so a name that nobody has is answered like any
// other, and a refusal costs no search. The count of the person whom the directory
// finds decides whether the password is passed on: so the names of one person, such as
// a uid and a mail, share the guesses that the directory gets to see. While that count
// is used up, another name of the person is answered like a name that nobody has, and
// takes as long.
func (p *People) LogIn(ctx context.Context, a guard.Attempt, username, password string) (u storage.User, err error) {
	a = a.ToDirectory(username)
	if err := p.needs.Throttle.Check(ctx, a); err != nil {
		return u, err
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.LoginTimeout())
	defer cancel()
	leave, err := p.needs.Throttle.Enter(ctx, a)
	if err != nil {
		return u, err
	}
	o := guard.Undecided
	defer func() {
		p.needs.Decided(o, err)
		err = leave(o, err)
	}()
	found, err := p.Find(ctx, username)
	if err != nil {
		return u, err
	}
	u, o, err = p.try(ctx, a, found, password)
	if o == guard.Rejected {
		p.needs.Refusals.Note(found.UID, a.From)
	}
	return u, err
}

// try has the directory judge the password of the person whom it found, unless
// that person's count is used up: then it judges the password of a person who does not
// exist, as it does for a name that nobody has.
func (p *People) try(ctx context.Context, a guard.Attempt, found ldap.Entry, password string) (u storage.User, o guard.Outcome, err error) {
	leave, asked, err := p.enter(ctx, a, found)
	if err != nil {
		return u, guard.Undecided, err
	}
	entry := found
	if found.Known() && !asked {
		entry = ldap.Entry{}
	}
	u, err = p.askPassword(ctx, a, entry, password)
	switch {
	case err == nil, errors.Is(err, storage.ErrOtherAccount):
		o = guard.Accepted // the password was right
	case errors.Is(err, reply.ErrInvalid):
		o = guard.Rejected
	}
	leave(o)
	if asked && o != guard.Undecided {
		p.needs.Throttle.Took(a)
	} else if o == guard.Rejected {
		p.needs.Throttle.Wait(ctx, a)
	}
	return u, o, err
}

// enter counts a login among those of the person whom the directory found, and reports
// whether the directory may be asked. It waits for other logins of the person, under any
// name: a right password is not refused because others are being tried. That wait is part
// of the time that Throttle.Took notes, so it also lengthens the answers without a check.
func (p *People) enter(ctx context.Context, a guard.Attempt, found ldap.Entry) (leave func(guard.Outcome), asked bool, err error) {
	if !found.Known() {
		return func(guard.Outcome) {}, false, nil
	}
	person := a.OfPerson(cmp.Or(found.Subject, found.DN))
	done, err := p.needs.Throttle.Enter(ctx, person)
	refused, ok := errors.AsType[*reply.Error](err)
	if err != nil && !ok {
		return nil, false, err
	}
	leave = func(o guard.Outcome) {
		if o == guard.Rejected {
			p.needs.Throttle.NoteName(person, a)
		}
		if asked {
			done(o, nil)
		}
	}
	if asked = refused == nil; !asked {
		p.Log.Info("a login was not passed to the directory, after too many bad passwords for this person", "dn", found.DN, "address", a.From)
	}
	return leave, asked, nil
}

// askPassword has the directory judge a password, and admits the person. It continues
// even if the client hangs up. The directory counts the failure in any case, and a client
// that could avoid the count here could lock anybody out there.
func (p *People) askPassword(ctx context.Context, a guard.Attempt, entry ldap.Entry, password string) (storage.User, error) {
	end, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(context.WithoutCancel(ctx), end)
	defer cancel()
	entry, err := p.Authenticate(ctx, entry, password)
	refusal, _ := errors.AsType[*ldap.Refusal](err)
	if refusal != nil {
		p.Log.Info("the directory refused a login", "dn", entry.DN, "reason", refusal.Reason, "detail", refusal.Detail, "address", a.From)
	}
	if refusal != nil && refusal.Reason == ldap.ReasonNoID { // the password was right
		return storage.User{}, reply.Refuse(http.StatusForbidden, "The directory gives no permanent id for this account: ask an administrator")
	}
	if errors.Is(err, ldap.ErrInvalidCredentials) || errors.Is(err, ldap.ErrRefused) {
		return storage.User{}, reply.ErrInvalid
	}
	if err != nil {
		return storage.User{}, err
	}
	return p.needs.Admit(a, storage.Login{
		Identity: storage.Identity{Source: storage.SourceLDAP, Subject: entry.Subject}, Addresses: entry.Addresses, Name: entry.Name,
	})
}
