package tokens

import (
	"net/http"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/ipaddr"
	"gatehouse/server/reply"
	"gatehouse/storage"
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
			return spec, "", reply.Refuse(http.StatusBadRequest, "expiresIn: %v", err)
		}
		if most.Ends() && d > most.Duration {
			return spec, "", tooLong(most)
		}
		spec.Lifetime = d.Milliseconds()
	}
	for _, text := range o.Addresses {
		p, err := ipaddr.ParsePrefix(text)
		if err != nil {
			return spec, "", reply.Refuse(http.StatusBadRequest, "addresses: %q is not an address or prefix such as 10.0.0.0/8", text)
		}
		spec.Addresses = append(spec.Addresses, p)
	}
	if warning, err = policy.CheckScopes(o.Scopes); err != nil {
		return spec, "", reply.Refuse(http.StatusBadRequest, "scopes: %v", err)
	}
	return spec, warning, nil
}

func tooLong(most config.Lifetime) error {
	return reply.Refuse(http.StatusBadRequest, "expiresIn: at most %s is allowed here", config.FormatSpan(most.Duration))
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
