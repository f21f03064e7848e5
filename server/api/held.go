package api

// What an off-boarding sweep does to a user.
const (
	OffboardSuspend = "suspend" // the source, a directory or a provider, has stopped the person
	OffboardResume  = "resume"  // the source lets the person in again
	OffboardRemove  = "remove"  // the source no longer has the person
)

// HeldSweep is what waits for an administrator to confirm it: a sweep that would change
// too many people to be believed, and other acts that can't be undone.
type HeldSweep struct {
	Asked   int          `json:"asked"` // how many users the held sweeps were about
	Changes []HeldChange `json:"changes"`
	Why     string       `json:"why"`   // why the changes are held; it follows "because"
	Clock   string       `json:"clock"` // why the clock is in doubt; empty: it is not
	Acts    []HeldAct    `json:"acts"`
}

// Nothing reports whether nothing is held.
func (h HeldSweep) Nothing() bool { return len(h.Changes) == 0 && len(h.Acts) == 0 && h.Clock == "" }

// What is held besides off-boarding.
const (
	HeldRevokeIdle = "revoke idle tokens"
	HeldDropEvents = "drop old events"
)

// HeldAct is something that would be done to many things because of their age.
type HeldAct struct {
	Action string `json:"action"`
	Count  int    `json:"count"`
	Of     int    `json:"of"`
	Why    string `json:"why"`
	Shown  string `json:"shown"` // the command that shows them
}

// HeldChange is what a held sweep would do to one user.
type HeldChange struct {
	UID    string `json:"uid"`
	Action string `json:"action"`
	Why    string `json:"why"`
}
