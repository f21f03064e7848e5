package ldap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

const (
	maxName     = 256
	maxPassword = 256
)

// Login is Find and Authenticate, together within Config.Timeout. Its errors are
// those of both; with an error of Authenticate it returns the entry, too.
func (d *Directory) Login(ctx context.Context, name, password string) (Entry, error) {
	if err := validPassword(password); err != nil {
		return Entry{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	e, err := d.Find(ctx, name)
	if err != nil {
		return Entry{}, err
	}
	return d.Authenticate(ctx, e, password)
}

// Find returns the person whom name means, and the zero Entry, without an
// error, when it means nobody or could mean two: pass that on to Authenticate
// all the same, since an answer that comes sooner tells which names exist. The
// only error is ErrUnavailable.
func (d *Directory) Find(ctx context.Context, name string) (Entry, error) {
	if !validName(name) {
		return Entry{}, nil
	}
	var found Entry
	err := d.try(ctx, d.cfg.Timeout, func(ctx context.Context, s *server) error {
		return d.service(ctx, s, func(c *conn) (err error) {
			found, err = d.find(ctx, c, name)
			return err
		})
	})
	if err != nil {
		return Entry{}, fmt.Errorf("find a person: %w", err)
	}
	return found, nil
}

// find asks for two entries in order to see that there is only one.
func (d *Directory) find(ctx context.Context, c *conn, name string) (Entry, error) {
	res, err := c.search(ctx, &goldap.SearchRequest{
		BaseDN:           d.cfg.BaseDN,
		Scope:            goldap.ScopeWholeSubtree,
		SizeLimit:        2,
		EnforceSizeLimit: true,
		Filter:           nameFilter(d.cfg.Filter, name),
		Attributes:       d.cfg.attributes(),
		Controls:         d.cfg.controls(),
	})
	ambiguous := Entry{Stopped: ReasonAmbiguous}
	switch {
	case sizeLimited(err):
		return ambiguous, nil
	case err != nil:
		return Entry{}, fmt.Errorf("search %s: %w", d.cfg.BaseDN, err)
	case len(res.Entries) > 1:
		return ambiguous, nil
	case len(res.Entries) == 0:
		return Entry{}, nil
	case res.Entries[0].DN == "":
		// A bind with an empty DN succeeds with any password.
		return Entry{}, errors.New("the server sent an entry without a name")
	}
	return d.cfg.entry(res.Entries[0], d.now()), nil
}

// controls keeps Active Directory from adding references to its other
// partitions to every answer. Other servers would obey too, OpenLDAP among
// them, and then Lookup could not see that a part of the tree is elsewhere.
func (c *Config) controls() []goldap.Control {
	if !isGUID(c.IDAttribute) {
		return nil
	}
	return []goldap.Control{goldap.NewControlString(goldap.ControlTypeMicrosoftDomainScope, false, "")}
}

// nameFilter puts name, escaped, in its place.
func nameFilter(filter, name string) string {
	return strings.ReplaceAll(filter, usernameMark, goldap.EscapeFilter(name))
}

// validName reports whether an account could have this name. One with invisible
// characters is refused: servers drop these before they compare names, and in
// logs they do not show.
func validName(name string) bool {
	return strings.TrimSpace(name) != "" && len(name) <= maxName && printable(name)
}

// validPassword refuses passwords that must not be sent, above all the empty one:
// a bind with that is anonymous, and succeeds (RFC 4513, section 5.1.2).
func validPassword(password string) error {
	if password == "" || len(password) > maxPassword || strings.ContainsRune(password, 0) {
		return ErrInvalidCredentials
	}
	return nil
}

// Authenticate tells whether password is e's and whether e is to be let in; e
// comes from Find, moments ago. The error is ErrInvalidCredentials, a *Refusal
// or ErrUnavailable; the entry is always e's own.
//
// For an unknown name (the zero Entry) it binds a DN that does not exist, so that
// this takes one search and one bind, too. The directory may still refuse that
// bind sooner, by the time that it would have spent on hashing the password.
func (d *Directory) Authenticate(ctx context.Context, e Entry, password string) (Entry, error) {
	if err := validPassword(password); err != nil {
		return e, err
	}
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Timeout)
	defer cancel()
	dn := e.DN
	if !e.Known() {
		dn = "cn=" + rand.Text() + "," + d.cfg.BaseDN
	}
	verdict, err := d.bind(ctx, dn, password)
	switch {
	case err != nil:
		return e, fmt.Errorf("bind: %w", err)
	case e.Stopped == ReasonAmbiguous:
		return e, &Refusal{Reason: e.Stopped}
	case !e.Known():
		return e, ErrInvalidCredentials
	case verdict != nil:
		return e, verdict
	}
	if e.Stopped == ReasonLocked {
		// The server, which knows how long a lock lasts, has just let them in.
		e.Stopped, e.Detail = "", ""
	}
	if e.Stopped != "" {
		return e, &Refusal{e.Stopped, e.Detail}
	}
	return d.checkGroup(ctx, e)
}

// bind tries the password on a connection of its own. The verdict is nil, a
// *Refusal or ErrInvalidCredentials; err is ErrUnavailable.
func (d *Directory) bind(ctx context.Context, dn, password string) (verdict, err error) {
	err = d.try(ctx, d.cfg.Timeout, func(ctx context.Context, s *server) error {
		c, err := d.open(ctx, s)
		if err != nil {
			return err
		}
		defer c.close()
		request := goldap.NewSimpleBindRequest(dn, password, []goldap.Control{goldap.NewControlBeheraPasswordPolicy()})
		var result *goldap.SimpleBindResult
		err = c.within(ctx, func() (err error) {
			result, err = c.ldap.SimpleBind(request)
			return err
		})
		var fault error
		if verdict, fault = judge(result, err); fault != nil {
			return &unrepeatable{fault}
		}
		return nil
	})
	return verdict, err
}

// judge reads the answer to a bind. The result code alone is not the verdict: a
// password policy reports a reset or expired password beside a success.
func judge(result *goldap.SimpleBindResult, err error) (verdict, fault error) {
	if err != nil && !answered(err) {
		return nil, err
	}
	if result != nil {
		if r := policyRefusal(result.Controls); r != nil {
			return r, nil
		}
	}
	var e *goldap.Error
	if err == nil || !errors.As(err, &e) {
		return nil, err
	}
	said := ""
	if e.Err != nil {
		said = e.Err.Error()
	}
	switch e.ResultCode {
	case goldap.LDAPResultInvalidCredentials:
		if r := activeDirectoryRefusal(said); r != nil {
			return r, nil
		}
		return ErrInvalidCredentials, nil
	case goldap.LDAPResultNoSuchObject, goldap.LDAPResultInappropriateAuthentication:
		// Deleted since the search, or an entry without a password.
		return ErrInvalidCredentials, nil
	case goldap.LDAPResultConstraintViolation:
		// 389 Directory Server: "Exceed password retry limit".
		return &Refusal{ReasonLocked, said}, nil
	case goldap.LDAPResultUnwillingToPerform:
		// 389 Directory Server: "Account inactivated".
		return &Refusal{ReasonOther, said}, nil
	}
	return nil, err
}

// policyRefusal reads the controls of draft-behera-ldap-password-policy and
// draft-vchu-ldap-pwd-policy. A grace login is refused: it is the directory's
// offer to change an expired password, which cannot be done here.
func policyRefusal(controls []goldap.Control) *Refusal {
	for _, control := range controls {
		switch c := control.(type) {
		case *goldap.ControlBeheraPasswordPolicy:
			switch {
			case c.Error == goldap.BeheraPasswordExpired:
				return &Refusal{ReasonExpired, "password policy: password expired"}
			case c.Error == goldap.BeheraAccountLocked:
				return &Refusal{ReasonLocked, "password policy: account locked"}
			case c.Error == goldap.BeheraChangeAfterReset:
				return &Refusal{ReasonMustChange, "password policy: change after reset"}
			case c.Error >= 0:
				return &Refusal{ReasonOther, "password policy: " + c.ErrorString}
			case c.Grace >= 0:
				return &Refusal{ReasonExpired, fmt.Sprintf("password policy: password expired, %d grace logins left", c.Grace)}
			}
		case *goldap.ControlVChuPasswordMustChange:
			return &Refusal{ReasonMustChange, "password policy: password expired or reset"}
		}
	}
	return nil
}

var adCode = regexp.MustCompile(`\bdata ([0-9a-fA-F]{1,8})\b`)

// activeDirectoryRefusal reads the Windows error that Active Directory hides in
// its message, as in "AcceptSecurityContext error, data 533, v4563".
func activeDirectoryRefusal(message string) *Refusal {
	match := adCode.FindStringSubmatch(message)
	if match == nil || !strings.Contains(message, "AcceptSecurityContext") {
		return nil
	}
	detail := "Active Directory code " + match[1]
	switch strings.ToLower(match[1]) {
	case "530", "531":
		return &Refusal{ReasonOther, detail + ": not at this time, or not from here"}
	case "532":
		return &Refusal{ReasonExpired, detail + ": password expired"}
	case "533":
		return &Refusal{ReasonDisabled, detail}
	case "701":
		return &Refusal{ReasonExpired, detail + ": account expired"}
	case "773":
		return &Refusal{ReasonMustChange, detail}
	case "775":
		return &Refusal{ReasonLocked, detail}
	}
	return nil // 525 and 52e: no such user, wrong password
}
