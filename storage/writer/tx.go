package writer

import (
	"gatehouse/storage/keys"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
)

// Tx is what a change sees: the store as the changes before it left it.
//
// What a change puts takes effect completely if the change returns nil, and
// otherwise not at all. A change may run a second time if the first run had no
// effect, so it must not rely on variables outside. It must not touch the
// table: it passes such work to Durable.
type Tx struct {
	*read.Reader
	By  record.Actor
	Now int64 // ms

	seals   *keys.Seals
	records []record.Entry
	after   []func()
}

// Event begins a record: the operations that follow belong to it. It adds the time, the
// actor and, unless the event has one, the actor's address.
func (t *Tx) Event(e record.Event) {
	if e.Address == "" {
		e.Address = t.By.Address
	}
	e.Time, e.Actor = t.Now, t.By.Name
	t.records = append(t.records, record.Entry{Event: e})
}

func (t *Tx) op(o record.Op) {
	if len(t.records) == 0 {
		// A change that the audit log does not show.
		t.records = append(t.records, record.Entry{Event: record.Event{Time: t.Now, Actor: t.By.Name}})
	}
	r := &t.records[len(t.records)-1]
	r.Ops = append(r.Ops, o)
}

// Put stores a sealed value.
func (t *Tx) Put(key, value []byte) { t.op(record.Op{Key: key, Value: t.seals.Seal(key, value)}) }

// Hint stores an unsealed value.
func (t *Tx) Hint(key, value []byte) {
	t.op(record.Op{Key: key, Value: append([]byte{}, value...)})
}

// First marks the last operation as the first one under its key, so that nobody
// looks for a value that it replaces.
func (t *Tx) First() {
	ops := t.records[len(t.records)-1].Ops
	ops[len(ops)-1].First = true
}

// Delete removes what is stored under a key.
func (t *Tx) Delete(key []byte) { t.op(record.Op{Key: key}) }

// Durable registers a function that runs when the change is on the disk, before
// the caller is answered.
func (t *Tx) Durable(f func()) { t.after = append(t.after, f) }
