package web

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Place is a page of a list of tokens, in an order. All links and forms keep it in their
// query, so that people come back to where they were.
type Place struct {
	Listing string // the path of the list
	Number  int    // of the page, from 1
	Sort    Sort
}

// Sort is an order of tokens: a key, after "-" if the highest is first.
type Sort string

// The keys.
const (
	ByName     = "name"
	ByCreated  = "created"
	ByLastUsed = "used"
	ByEnd      = "ends"
)

// Newest is the order unless somebody chooses another.
const Newest = Sort("-" + ByCreated)

// Key is what it sorts by.
func (s Sort) Key() string { return strings.TrimPrefix(string(s), "-") }

// Descends reports whether the highest is first.
func (s Sort) Descends() bool { return strings.HasPrefix(string(s), "-") }

// Known reports whether there is such an order.
func (s Sort) Known() bool {
	return slices.Contains([]string{ByName, ByCreated, ByLastUsed, ByEnd}, s.Key())
}

// query is the place as the query of a URL.
func (p Place) query() url.Values {
	q := url.Values{}
	if p.Number > 1 {
		q.Set("page", strconv.Itoa(p.Number))
	}
	if p.Sort != Newest && p.Sort != "" {
		q.Set("sort", string(p.Sort))
	}
	return q
}

func withQuery(path string, q url.Values) string {
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

// At adds the place to a path.
func (p Place) At(path string) string { return withQuery(path, p.query()) }

// Back is the URL of the place.
func (p Place) Back() string { return p.At(p.Listing) }

// Page is the URL of another page of the list.
func (p Place) Page(number int) string {
	p.Number = number
	return p.Back()
}

// After is the URL of the place, where the page says what was done to a token. That page
// checks it with the store: a made-up link has no effect.
func (p Place) After(done, id string) string {
	q := p.query()
	q.Set(done, id)
	return withQuery(p.Listing, q)
}

// Head is the head of a column of tokens.
type Head struct {
	Title, URL string // the URL sorts by the column; empty: it can't
	Sorted     string // "ascending", "descending", or empty: by another column
}

// Head returns the head of the column with a key. The first click on it shows first what
// people look for: the newest token, or the first name, the oldest use, the next end.
func (p Tokens) Head(key, title string) Head {
	h, to := Head{Title: title}, Place{Listing: p.Listing, Sort: Sort(key)}
	if p.Sort.Key() == key {
		h.Sorted = "ascending"
		if p.Sort.Descends() {
			h.Sorted = "descending"
		}
	}
	if p.Sort == Sort(key) || p.Sort != Newest && key == ByCreated {
		to.Sort = Sort("-" + key)
	}
	if p.Sortable || key == ByCreated {
		h.URL = to.Back()
	}
	return h
}
