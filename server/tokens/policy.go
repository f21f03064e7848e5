package tokens

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/record"
)

// Options are what a caller may ask of a new token.
type Options struct {
	Name      string   `json:"name"`
	ExpiresIn string   `json:"expiresIn"`
	Scopes    []string `json:"scopes"`
	Addresses []string `json:"addresses"`
}

// DefaultSpec is a token for which nothing was asked: the default lifetime and no limits.
func DefaultSpec(policy config.Tokens) storage.TokenSpec {
	life := policy.DefaultLifetime
	if !life.Ends() {
		life = policy.MaxLifetime
	}
	return storage.TokenSpec{Lifetime: life.Milliseconds()}
}

// Spec returns the token that was asked for, or a refusal if the policy does not allow
// it. The warning names scopes that look mistyped.
func Spec(policy config.Tokens, o Options) (spec storage.TokenSpec, warning string, err error) {
	spec = DefaultSpec(policy)
	spec.Name, spec.Scopes = o.Name, o.Scopes
	switch most := policy.MaxLifetime; {
	case o.ExpiresIn == "never" && most.Ends():
		return spec, "", tooLong(most)
	case o.ExpiresIn == "never":
		spec.Lifetime = 0
	case o.ExpiresIn != "":
		d, err := config.ParseSpan(o.ExpiresIn)
		if err != nil {
			return spec, "", badField("expiresIn", "%v", err)
		}
		if most.Ends() && d > most.Duration {
			return spec, "", tooLong(most)
		}
		spec.Lifetime = d.Milliseconds()
	}
	for _, text := range o.Addresses {
		p, err := ipaddr.ParsePrefix(text)
		if err != nil {
			return spec, "", badField("addresses", "%q is not an address or prefix such as 10.0.0.0/8", text)
		}
		spec.Addresses = append(spec.Addresses, p)
	}
	if warning, err = policy.CheckScopes(o.Scopes); err != nil {
		return spec, "", badField("scopes", "%v", err)
	}
	return spec, warning, nil
}

func tooLong(most config.Lifetime) error {
	return badField("expiresIn", "at most %s is allowed here", config.FormatSpan(most.Duration))
}

func badField(field, format string, args ...any) error {
	return &reply.Error{Status: http.StatusBadRequest, Field: field, Message: field + ": " + fmt.Sprintf(format, args...)}
}

// Wrong returns everything that is wrong with the options, by the field's name, for a form
// to show at once. [Spec] and the store refuse the same options, with the first reason.
func Wrong(policy config.Tokens, o Options) map[string]string {
	wrong := map[string]string{}
	if _, err := record.CleanName(o.Name); err != nil {
		wrong["name"] = err.Error()
	}
	for _, one := range []Options{{ExpiresIn: o.ExpiresIn}, {Scopes: o.Scopes}, {Addresses: o.Addresses}} {
		_, _, err := Spec(policy, one)
		if e, ok := errors.AsType[*reply.Error](err); ok {
			wrong[e.Field] = strings.TrimPrefix(e.Message, e.Field+": ")
		}
	}
	return wrong
}

// DefaultOverlap is how long the old secret of a rotated token works if nobody says.
const DefaultOverlap = "24h"

// ParseOverlap reads how long the old secret of a rotated token works; 0 ends it at once.
// It refuses what the store would refuse, because `gatehouse token rotate` prints the new
// secret before it sets the overlap.
func ParseOverlap(text string) (time.Duration, error) {
	if text == "0" || text == "0s" {
		return 0, nil
	}
	d, err := config.ParseSpan(text)
	if err != nil {
		return 0, reply.Refuse(http.StatusBadRequest, "overlap: %v", err)
	}
	if d > storage.MaxOverlap {
		return 0, reply.Refuse(http.StatusBadRequest, "overlap: write at most %s", config.FormatSpan(storage.MaxOverlap))
	}
	return d, nil
}

// ErrExpired refuses to rotate an expired token.
var ErrExpired = reply.Refuse(http.StatusConflict, "The token has expired: a new secret would not work either")
