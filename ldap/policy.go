package ldap

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// bind binds with the password policy control. Without it, the answer says nothing about
// the policy.
func (c *conn) bind(ctx context.Context, dn, password string) (result *goldap.SimpleBindResult, err error) {
	request := goldap.NewSimpleBindRequest(dn, password, []goldap.Control{goldap.NewControlBeheraPasswordPolicy()})
	err = c.within(ctx, func() error {
		result, err = c.ldap.SimpleBind(request)
		return err
	})
	return result, err
}

// judge reads the answer to a bind. The result code alone is not the verdict: a
// password policy reports a reset or expired password together with a success.
func judge(result *goldap.SimpleBindResult, err error) (verdict, fault error) {
	if err != nil && !answered(err) {
		return nil, err
	}
	said := message(err)
	if code(err) == goldap.LDAPResultUnwillingToPerform && strings.Contains(said, "inactivated") {
		// 389 Directory Server calls this a lock in its policy control.
		return &Refusal{ReasonDisabled, said}, nil
	}
	if result != nil {
		if r := policyRefusal(result.Controls); r != nil {
			return r, nil
		}
	}
	switch code(err) {
	case 0:
		return nil, nil
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
		return &Refusal{ReasonOther, said}, nil
	}
	return nil, sorted(err)
}

// message returns what the server said in addition to a result code.
func message(err error) string {
	if e, ok := errors.AsType[*goldap.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return ""
}

// policyRefusal reads the controls of draft-behera-ldap-password-policy and, where
// there are none, of draft-vchu-ldap-pwd-policy. A grace login is refused: it is the
// directory's offer to change an expired password, which cannot be done here.
func policyRefusal(controls []goldap.Control) (refusal *Refusal) {
	for _, control := range controls {
		switch c := control.(type) {
		case *goldap.ControlBeheraPasswordPolicy:
			switch {
			case c.Error == goldap.BeheraPasswordExpired:
				return &Refusal{ReasonPasswordExpired, "password policy: password expired"}
			case c.Error == goldap.BeheraAccountLocked:
				return &Refusal{ReasonLocked, "password policy: account locked"}
			case c.Error == goldap.BeheraChangeAfterReset:
				return &Refusal{ReasonMustChange, "password policy: change after reset"}
			case c.Error >= 0:
				return &Refusal{ReasonOther, "password policy: " + c.ErrorString}
			case c.Grace >= 0:
				return &Refusal{ReasonPasswordExpired, graceLeft(c.Grace)}
			}
		case *goldap.ControlVChuPasswordMustChange:
			refusal = &Refusal{ReasonMustChange, "password policy: password expired or reset"}
		}
	}
	return refusal
}

func graceLeft(n int64) string {
	return fmt.Sprintf("password policy: password expired, %d grace logins left", n)
}

// policyNotice returns what a password policy says about a bind that it grants:
// that the password will expire, or has expired and a grace login was spent.
func policyNotice(controls []goldap.Control) string {
	left := int64(-1)
	for _, control := range controls {
		switch c := control.(type) {
		case *goldap.ControlBeheraPasswordPolicy:
			if c.Error < 0 && c.Grace >= 0 {
				return graceLeft(c.Grace)
			}
			left = max(left, c.Expire)
		case *goldap.ControlVChuPasswordWarning:
			left = max(left, c.Expire)
		}
	}
	if left < 0 {
		return ""
	}
	return fmt.Sprintf("password policy: the password expires in %s", (time.Duration(left) * time.Second).String())
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
		return &Refusal{ReasonPasswordExpired, detail + ": password expired"}
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
