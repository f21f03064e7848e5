package oauth

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// answer is what a provider has answered. Its status says who is at fault, and so what
// the client is told. A token that the provider does not accept is the client's fault
// (401, and counted as a failure). All else is the provider's fault or ours (503), and an
// operator must look at it.
type answer struct {
	*http.Response
	complaint complaint // of any status but 200
}

// complaint is what providers send with a refusal: OAuth's error (RFC 6749, section
// 5.2), or a message for people.
type complaint struct {
	Error   string `json:"error"`
	Message string `json:"message"`
}

// verdict judges the status of what was asked with a person's token.
func (a *answer) verdict() error {
	switch s := a.StatusCode; {
	case s == http.StatusOK:
		return nil
	case a.limited():
		return fmt.Errorf("it accepts no more requests for now (%s)", a.Status)
	case s == http.StatusUnauthorized:
		return refused("the provider does not know the token, or no longer")
	case s == http.StatusForbidden:
		return refused("%s", a.complaint.forbidden().text)
	case a.unreadable():
		return a.notUnderstood()
	}
	return a.unexpected()
}

// limited reports whether the provider takes no more requests for now. GitHub and
// others say so with 403, too.
func (a *answer) limited() bool {
	switch a.StatusCode {
	case http.StatusTooManyRequests:
		return true
	case http.StatusForbidden:
		return a.Header.Get("X-RateLimit-Remaining") == "0" || a.Header.Get("Retry-After") != ""
	}
	return false
}

// unreadable reports whether the provider can't understand the request. Only the token
// differs from one request to the next, so the token is at fault.
func (a *answer) unreadable() bool {
	switch a.StatusCode {
	case http.StatusBadRequest, http.StatusUnprocessableEntity,
		http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return false
}

func (a *answer) notUnderstood() error {
	return refused("the provider did not recognize the token (status %d)", a.StatusCode)
}

func (a *answer) unexpected() error {
	return fmt.Errorf("%s answered %s with status %d", a.Request.URL.Host, a.Request.URL.Path, a.StatusCode)
}

// ourFault returns the error for a refusal of the client's own credentials.
func (a *answer) ourFault() error {
	return fmt.Errorf("%s rejected client_id and client_secret_file (status %d)", a.Request.URL.Host, a.StatusCode)
}

// blamesClient reports whether an OAuth error is about the client's own credentials.
func blamesClient(code string) bool {
	return slices.Contains([]string{"invalid_client", "unauthorized_client", "incorrect_client_credentials"}, code)
}

// blamesToken reports whether an OAuth error is about the token.
func blamesToken(code string) bool {
	return slices.Contains([]string{"invalid_token", "invalid_grant", "unsupported_token_type"}, code)
}

// cause is what a 403 is about. It stops somebody only if the account is stopped.
type cause struct {
	phrase string // in the message of Gitea, GitHub or GitLab
	text   string
	stops  bool
}

var causes = []cause{
	{"not activated", "the account is not activated", true},
	{"prohibited", "the account may not log in", true},
	{"suspended", "the account is suspended", true},
	{"blocked", "the account is blocked", true},
	{"deactivated", "the account is deactivated", true},
	{"banned", "the account is banned", true},
	{"change your password", "the account must change its password first", false},
	{"two-factor", "the account must set up two-factor authentication first", false},
	{"scope", "the token lacks a scope that is needed", false},
}

// forbidden is the cause of a 403. The message itself is not repeated: it may
// contain anything.
func (c complaint) forbidden() cause {
	message := strings.ToLower(c.Error + " " + c.Message)
	i := slices.IndexFunc(causes, func(one cause) bool { return strings.Contains(message, one.phrase) })
	if i < 0 {
		return cause{text: "the token lacks a scope that is needed, or its owner may not log in"}
	}
	return causes[i]
}
