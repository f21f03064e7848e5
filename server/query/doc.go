// Package query says which tokens, or which users, somebody means. Command line,
// terminal and administration API all come here, so that a filter means the same
// everywhere.
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
//	Reader     asks the store for what its order can answer (storage.TokenFilter); if
//	           more was asked, looks at each token that comes back (matcher), a stretch
//	           at a time
//
// It owns the meaning of the filters. It never changes the store, keeps nothing between
// two questions, and never holds more of a listing in memory than a stretch.
package query
