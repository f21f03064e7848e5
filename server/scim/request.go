package scim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"gatehouse/server/body"
	"gatehouse/storage/record"
)

// wish is what a request says of a user. Providers send much more, also with each
// deactivation. It is ignored: a refusal would leave the person's tokens alive.
type wish struct {
	active     *bool  // nil: nothing
	externalID string // empty: nothing
}

// newUser is a user to be made.
type newUser struct {
	wish
	userName string
	name     string
}

// attributes are the members of a JSON object by their names in lower case, without the URN
// of the user's schema: names are compared without regard to case (RFC 7643, section 2.1).
type attributes map[string]json.RawMessage

var errSyntax = refuse(http.StatusBadRequest, "invalidSyntax", "The body is not a SCIM user")

// readObject reads a request's body.
func readObject(r *http.Request) (attributes, error) {
	b, err := body.Read(r)
	if err != nil {
		return nil, err
	}
	if t, _ := body.MediaType(r); t != mediaType && t != "application/json" {
		return nil, refuse(http.StatusUnsupportedMediaType, "", "Send JSON (Content-Type: %s)", mediaType)
	}
	if err := body.CheckJSON(b); err != nil {
		return nil, err
	}
	return attributesOf(b)
}

func attributesOf(b []byte) (attributes, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return nil, errSyntax
	}
	all := attributes{}
	for name, v := range raw {
		short := plainName(name)
		if _, twice := all[short]; twice {
			return nil, refuse(http.StatusBadRequest, "invalidSyntax", "The attribute %q appears more than once", short)
		}
		all[short] = v
	}
	return all, nil
}

// plainName returns the name of an attribute in lower case and without the URN.
func plainName(name string) string {
	return strings.TrimPrefix(strings.ToLower(name), strings.ToLower(userURN)+":")
}

// text returns an attribute that is a string; empty: there is none.
func (a attributes) text(name string) (s string) {
	if json.Unmarshal(a[name], &s) != nil {
		return ""
	}
	return s
}

// wish returns what the attributes say of a user.
func (a attributes) wish() (in wish, err error) {
	in.externalID = a.text("externalid")
	if v, ok := a["active"]; ok && string(v) != "null" {
		in.active, err = truth(v)
	}
	return in, err
}

// truth reads a boolean. Entra ID also sends it as text, and in a list of one value.
func truth(v json.RawMessage) (*bool, error) {
	var list []struct {
		Value json.RawMessage `json:"value"`
	}
	if json.Unmarshal(v, &list) == nil && len(list) == 1 && list[0].Value != nil {
		v = list[0].Value
	}
	var b bool
	var s string
	switch {
	case string(v) != "null" && json.Unmarshal(v, &b) == nil:
		return &b, nil
	case json.Unmarshal(v, &s) == nil && strings.EqualFold(s, "true"):
		b = true
		return &b, nil
	case json.Unmarshal(v, &s) == nil && strings.EqualFold(s, "false"):
		return &b, nil
	}
	return nil, refuse(http.StatusBadRequest, "invalidValue", "active: write true or false")
}

// readUser reads a whole user (RFC 7644, section 3.5.1).
func readUser(r *http.Request) (wish, error) {
	all, err := readObject(r)
	if err != nil {
		return wish{}, err
	}
	return all.wish()
}

// readPatch reads the operations of a PATCH (RFC 7644, section 3.5.2). If several set one
// attribute, the last one counts. Entra ID writes their names with a capital.
func readPatch(r *http.Request) (in wish, err error) {
	all, err := readObject(r)
	if err != nil {
		return in, err
	}
	var list []json.RawMessage
	if json.Unmarshal(all["operations"], &list) != nil || len(list) == 0 {
		return in, refuse(http.StatusBadRequest, "invalidSyntax", "A PATCH needs Operations")
	}
	for _, one := range list {
		next, err := readOperation(one)
		if err != nil {
			return in, err
		}
		in.active, in.externalID = cmp.Or(next.active, in.active), cmp.Or(next.externalID, in.externalID)
	}
	return in, nil
}

func readOperation(b []byte) (in wish, err error) {
	o, err := attributesOf(b)
	if err != nil {
		return in, err
	}
	path := plainName(o.text("path"))
	switch op := strings.ToLower(o.text("op")); op {
	case "add", "replace":
	case "remove":
		switch path {
		case "":
			return in, refuse(http.StatusBadRequest, "noTarget", "To remove something, name it in path")
		case "active", "username":
			return in, refuse(http.StatusBadRequest, "mutability", "The attribute %s can't be removed", path)
		}
		return in, nil
	default:
		return in, refuse(http.StatusBadRequest, "invalidSyntax", "An operation is add, replace or remove")
	}
	value, ok := o["value"]
	switch {
	case !ok:
		return in, refuse(http.StatusBadRequest, "invalidValue", "An operation needs a value")
	case path == "":
		all, err := attributesOf(value)
		if err != nil {
			return in, refuse(http.StatusBadRequest, "invalidValue", "Without path, the value is an object of attributes")
		}
		return all.wish()
	}
	return attributes{path: value}.wish()
}

func checkExternalID(id string) error {
	if id != "" && (record.Identity{Source: "x", Subject: id}).Check() != nil {
		return refuse(http.StatusBadRequest, "invalidValue", "externalId: write at most 512 bytes of UTF-8, without control and format characters")
	}
	return nil
}

// readNewUser reads a user to be made. Logins will know the person by an address. If none of
// the person's addresses is the userName, the login would make another user, which the
// provider could never stop: that is refused.
func readNewUser(r *http.Request) (in newUser, err error) {
	all, err := readObject(r)
	if err != nil {
		return in, err
	}
	if in.wish, err = all.wish(); err != nil {
		return in, err
	}
	in.userName = all.text("username")
	if err := record.CheckUID(in.userName); err != nil {
		return in, refuse(http.StatusBadRequest, "invalidValue", "userName: %v", err)
	}
	if err := checkExternalID(in.externalID); err != nil {
		return in, err
	}
	var emails []struct {
		Value string `json:"value"`
	}
	_ = json.Unmarshal(all["emails"], &emails) // of another form: none
	same := func(e struct {
		Value string `json:"value"`
	}) bool {
		return record.Fold(e.Value) == record.Fold(in.userName)
	}
	if len(emails) > 0 && !slices.ContainsFunc(emails, same) {
		return in, refuse(http.StatusBadRequest, "invalidValue", "userName: must be one of the person's emails, because a login knows the person by that address: map userName to it")
	}
	in.name = cmp.Or(all.text("displayname"), fullName(all["name"]))
	return in, nil
}

func fullName(b []byte) string {
	name, err := attributesOf(b)
	if err != nil {
		return ""
	}
	return cmp.Or(name.text("formatted"), strings.TrimSpace(name.text("givenname")+" "+name.text("familyname")))
}

// filter is the one kind that is understood: one of two attributes equals a text.
type filter struct{ attribute, value string }

var equals = regexp.MustCompile(`(?i)^\s*([a-z0-9:.]+)\s+eq\s+("(?:[^"\\]|\\.)*")\s*$`)

func parseFilter(text string) (f filter, err error) {
	m := equals.FindStringSubmatch(text)
	if m != nil {
		f.attribute = plainName(m[1])
		err = json.Unmarshal([]byte(m[2]), &f.value)
	}
	if m == nil || err != nil || f.attribute != "username" && f.attribute != "externalid" {
		return f, refuse(http.StatusBadRequest, "invalidFilter", `A filter is userName eq "…" or externalId eq "…"`)
	}
	return f, nil
}
