package record

import (
	"encoding/json"
	"fmt"

	"gatehouse/storage/disk"
	"gatehouse/storage/journal"
)

// Event is an entry of the audit log: who did what to which user or token.
type Event struct {
	Sequence uint64 `json:"-"`
	Time     int64  `json:"-"` // ms
	Actor    string `json:"-"`
	Address  string `json:"address,omitempty"`
	Action   string `json:"action"`
	UID      string `json:"uid,omitempty"`   // the user that it is about
	Token    string `json:"token,omitempty"` // the id of the token that it is about
	Owner    UserID `json:"owner,omitempty"` // the user's internal id, where a restore must find it
	Detail   string `json:"detail,omitempty"`
	Count    int    `json:"count,omitempty"` // how many such events this entry stands for; 0: one
}

// Actor says who asked for a change, and from where.
type Actor struct {
	Name    string // a uid, an account name of the host, or the part of Gatehouse that did it
	Address string // empty for the unix socket
}

// The actions about the journal itself, and the action that begins the events of a token.
const (
	ActionTokenCreate = "token.create"
	ActionAuditPrune  = "audit.prune"
	ActionAuditHeld   = "audit.held" // old events would have been dropped, and were kept
)

// Entry is one record of the journal: an event and what it puts into the index. Its payload
// is
//
//	version 1 | length of the event, as a uvarint | event as JSON | operations
type Entry struct {
	Event Event
	Ops   []Op
}

// AppendPayload appends the entry's payload.
func (e Entry) AppendPayload(b []byte) ([]byte, error) {
	event, err := json.Marshal(e.Event)
	if err != nil {
		return nil, err
	}
	b = AppendBytes(append(b, 1), event)
	for _, o := range e.Ops {
		b = AppendOp(b, o)
	}
	return b, nil
}

// Size is about how many bytes the entry takes. In the event, JSON may turn one
// byte into six.
func (e Entry) Size() (n int) {
	n = 256 + 6*(len(e.Event.UID)+len(e.Event.Detail))
	for _, o := range e.Ops {
		n += len(o.Key) + len(o.Value)
	}
	return n
}

// ParseEntry decodes the output of [Entry.AppendPayload]. The journal has verified
// it, so [disk.ErrDamaged] means that another program wrote it.
func ParseEntry(jr journal.Record) (e Entry, err error) {
	event, ops, err := CutEntry(jr)
	if err != nil {
		return e, err
	}
	if err := json.Unmarshal(event, &e.Event); err != nil {
		return e, fmt.Errorf("%w: the event of record %d of the journal: %w", disk.ErrDamaged, jr.Sequence, err)
	}
	e.Event.Sequence, e.Event.Time, e.Event.Actor = jr.Sequence, jr.Time, jr.Actor
	e.Ops, err = AllOps(ops)
	return e, err
}

// CutEntry splits an entry without decoding it: a replay needs no event, and a
// search needs few of them.
func CutEntry(jr journal.Record) (event, ops []byte, err error) {
	b, ok := jr.Payload, false
	if len(b) > 0 && b[0] == 1 {
		event, ops, ok = CutBytes(b[1:])
	}
	if !ok {
		return nil, nil, fmt.Errorf("%w: record %d of the journal has an unknown form", disk.ErrDamaged, jr.Sequence)
	}
	return event, ops, nil
}
