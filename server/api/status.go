package api

import "time"

// NoVersion is the version of a program that does not know its own, as go run builds it.
const NoVersion = "devel"

// Status is what the server says of itself.
type Status struct {
	Version string `json:"version"`
	Started int64  `json:"started"`
	Users   int    `json:"users"`  // all but the removed
	Tokens  int    `json:"tokens"` // live and expired ones, not the revoked
	Stale   int    `json:"stale"`  // of these, the ones unused for StaleAfter
	Actor   string `json:"actor"`  // the name under which the caller acts, such as "root"
	Role    Role   `json:"role"`   // what the caller may do

	Groups map[string]Role `json:"groups,omitempty"` // the roles of unix groups, by the name of the group

	Activity    Activity    `json:"activity"`
	Store       StoreHealth `json:"store"`
	Certificate Certificate `json:"certificate"`
	Directory   []Health    `json:"directory"`             // a server each; empty: LDAP is not configured
	Providers   []Health    `json:"providers"`             // an OAuth provider each
	Held        int         `json:"held"`                  // changes that an off-boarding sweep was held for
	HeldActs    []HeldAct   `json:"heldActs"`              // what else is held
	Clock       string      `json:"clock"`                 // why the clock is in doubt; empty: it is not
	Orphaned    int         `json:"orphaned"`              // service accounts that nobody owns
	NoPasswords bool        `json:"noPasswords,omitempty"` // logins.local is false: nobody can log in with a password kept here
}

// Activity is what the server did in each of the last seconds, the oldest first. The last
// one is the second that ended last.
type Activity struct {
	Requests []int   `json:"requests"`
	Refused  []int   `json:"refused"`
	Revoked  []int   `json:"revoked"`
	P50      float64 `json:"p50"` // of a verification in the last minute, ms; 0: there was none
	P99      float64 `json:"p99"`
}

// StoreHealth is how the store is.
type StoreHealth struct {
	Bytes      int64  `json:"bytes"`      // on the disk, including the journal
	Journal    int64  `json:"journal"`    // of these, the journal's
	Free       int64  `json:"free"`       // bytes left on its file system
	Problem    string `json:"problem"`    // why it takes no changes; empty: it does
	LastBackup int64  `json:"lastBackup"` // ms; 0: never

	// BackupOverdue: no backup was made for BackupWithin, though there was something to
	// back up.
	BackupOverdue bool `json:"backupOverdue"`
}

// BackupWithin is how old the last backup may be.
const BackupWithin = 48 * time.Hour

// Certificate is the server's own, for https.
type Certificate struct {
	NotAfter int64  `json:"notAfter"` // ms; 0: the server has none
	Problem  string `json:"problem"`  // why newer files are not in use
}

// Health says how a directory's server, or a provider, has answered recently.
type Health struct {
	Name        string  `json:"name"`     // its URL, or the provider's name
	Insecure    string  `json:"insecure"` // which of its settings are unsafe; empty: none
	Reachable   bool    `json:"reachable"`
	Latency     float64 `json:"latency"`     // ms, of the last answer
	LastSuccess int64   `json:"lastSuccess"` // ms; 0: never
	LastFailure int64   `json:"lastFailure"` // ms; 0: never
	LastError   string  `json:"lastError"`

	Recheck *Recheck `json:"recheck,omitempty"` // of a provider; nil: it is not asked about people again
}

// Recheck says how the last sweep of a provider's users went.
type Recheck struct {
	Swept      int64 `json:"swept"`      // when it ended, ms; 0: none has
	Unverified int   `json:"unverified"` // users about whom the provider could not be asked
}
