package site

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/server/body"
	"gatehouse/server/config"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/server/tokens"
	"gatehouse/server/web"
	"gatehouse/storage"
)

const day = 24 * time.Hour

// suggested is how long a token lives that is made with the form, unless the configuration
// or the person says otherwise. A token from the API has no end then: programs count on
// that. A person can make another one.
const suggested = 90 * day

// onDate is the choice of a date in the place of a span.
const onDate = "date"

// boxed begins the name of the field that is a scope's box: each name may occur only once.
const boxed = "scope:"

func (st *Site) createForm(w http.ResponseWriter, r *route.Request) error {
	fields, err := body.Fields(r.Request)
	if err != nil {
		return err
	}
	form := st.filledForm(r, fields)
	o := tokens.Options{
		Name: fields["name"], ExpiresIn: fields["expiresIn"],
		Scopes: words(fields["scopes"]), Addresses: words(fields["addresses"]),
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if scope, ok := strings.CutPrefix(name, boxed); ok {
			o.Scopes = append(o.Scopes, scope)
		}
	}
	badDate := ""
	if o.ExpiresIn == onDate {
		o.ExpiresIn, badDate = st.spanUntil(fields["date"])
	}
	policy := st.Config().Tokens
	if form.Wrong = tokens.Wrong(policy, o); badDate != "" {
		form.Wrong["date"] = badDate
	}
	for field, why := range form.Wrong {
		form.Wrong[field] = reply.Sentence(why)
	}
	if len(form.Wrong) > 0 {
		form.Error = "No token was made. See the marked fields."
		return st.showTokens(w, r, http.StatusBadRequest, web.Tokens{Form: form})
	}
	spec, warning, err := tokens.Spec(policy, o)
	var made *web.Made
	if err == nil {
		made, err = st.showOnce(r, spec)
	}
	if err != nil {
		return st.explain(w, r, err, func(status int, message string) error {
			form.Error = message
			return st.showTokens(w, r, status, web.Tokens{Form: form})
		})
	}
	if warning != "" {
		made.Warning = reply.Sentence(warning)
	}
	return st.showTokens(w, r, http.StatusOK, web.Tokens{Made: made})
}

// words splits what was typed into a field for several values.
func words(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" \t\r\n,;", c) })
}

// showOnce creates a token, to be shown on the page this once.
func (st *Site) showOnce(r *route.Request, spec storage.TokenSpec) (*web.Made, error) {
	t, secret, err := st.Tokens.Make(r, r.User, spec)
	if err != nil {
		return nil, reply.UnlessGone(err, reply.ErrCredentials)
	}
	return &web.Made{Token: st.row(t), Secret: secret.Reveal()}, nil
}

// emptyForm is the form for a new token as a person finds it.
func (st *Site) emptyForm(r *route.Request) *web.Form {
	form := st.filledForm(r, nil)
	form.Lifetimes = st.Lifetimes("")
	return form
}

// filledForm is the form with what was typed and chosen.
func (st *Site) filledForm(r *route.Request, fields map[string]string) *web.Form {
	policy := st.Config().Tokens
	form := &web.Form{
		Name: fields["name"], Lifetimes: st.Lifetimes(fields["expiresIn"]), Date: fields["date"],
		Scopes: fields["scopes"], AnyScope: len(policy.KnownScopes) == 0, Addresses: fields["addresses"],
	}
	if r.From.IsValid() {
		form.From = r.From.String()
	}
	first, last := st.dates()
	form.FirstDate, form.LastDate = first.Format(time.DateOnly), last.Format(time.DateOnly)
	meanings := map[string]string{
		"files": "recent files", "introspect": "look up others' tokens", "tokens:read": "list your tokens",
	}
	for _, scope := range policy.Scopes() {
		_, chosen := fields[boxed+scope]
		form.Known = append(form.Known, web.Box{Field: boxed + scope, Value: scope, Words: meanings[scope], Chosen: chosen})
	}
	return form
}

// Lifetimes are the choices for a new token that the policy allows. Value is the one that
// was chosen; empty: the default.
func (st *Site) Lifetimes(chosen string) (list []web.Lifetime) {
	most := st.Config().Tokens.MaxLifetime
	usual := time.Duration(tokens.DefaultSpec(st.Config().Tokens).Lifetime) * time.Millisecond
	if !st.Config().Tokens.DefaultLifetime.Ends() && (!most.Ends() || most.Duration > suggested) {
		usual = suggested
	}
	if chosen == "" {
		chosen = config.FormatSpan(usual)
	}
	add := func(value, words string) {
		list = append(list, web.Lifetime{Value: value, Words: words, Chosen: value == chosen})
	}
	spans := []time.Duration{7 * day, 30 * day, 90 * day, 365 * day, usual, most.Duration}
	slices.Sort(spans)
	for _, d := range slices.Compact(spans) {
		if d > 0 && (!most.Ends() || d <= most.Duration) {
			add(config.FormatSpan(d), "in "+web.Span(d))
		}
	}
	if first, last := st.dates(); !last.Before(first) {
		add(onDate, "on a date")
	}
	if !most.Ends() {
		add("never", "never")
	}
	if !slices.ContainsFunc(list, func(l web.Lifetime) bool { return l.Chosen }) {
		return st.Lifetimes("") // a browser would choose the shortest
	}
	return list
}

// A token that ends on a date works until 23:59 UTC of that day.
const untilMidnight = 23*time.Hour + 59*time.Minute

// mostYears bounds dates: a span has at most 292 years.
const mostYears = 100

// dates are the first and the last day that a new token may end on. If there is none, the
// last is before the first.
func (st *Site) dates() (first, last time.Time) {
	now := st.Now().UTC()
	latest := now.AddDate(mostYears, 0, 0)
	if most := st.Config().Tokens.MaxLifetime; most.Ends() {
		latest = now.Add(min(most.Duration, latest.Sub(now)))
	}
	first = now.Add(day - untilMidnight).Truncate(day)
	return first, latest.Add(-untilMidnight).Truncate(day)
}

// spanUntil returns how long a token lives that ends on a date. If that can't be, it returns
// what is wrong with the date.
func (st *Site) spanUntil(text string) (span, wrong string) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", "choose the date too"
	}
	date, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return "", "write the date as year, month and day, such as " + st.Now().UTC().Add(suggested).Format(time.DateOnly)
	}
	first, last := st.dates()
	switch {
	case date.Before(first):
		return "", fmt.Sprintf("the first possible date is %s", first.Format(time.DateOnly))
	case date.After(last):
		return "", fmt.Sprintf("the last possible date is %s", last.Format(time.DateOnly))
	}
	return config.FormatSpan(date.Add(untilMidnight).Sub(st.Now()).Truncate(time.Millisecond)), ""
}
