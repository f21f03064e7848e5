// Package query finds the tokens, the users or the events that filters select. The command
// line, the terminal UI and the administration API all use it, so that a filter means the
// same everywhere.
//
//	flags   --idle 90d --from 10.0.0.0/8     (api.Filters)
//	words   idle:90d from:10.0.0.0/8 nightly
//	           |
//	           v
//	Parser     one filter at a time; an *Error says what is wrong and what is allowed
//	           |
//	           v
//	Tokens     what is meant, without a store
//	           |
//	           v
//	Reader     asks the store, which applies some of the filters (storage.TokenFilter),
//	           and for the others asks a matcher about each token
//
// It owns the meaning of the filters. It never changes the store, and keeps nothing between
// two queries.
package query
