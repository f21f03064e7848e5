package table

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gatehouse/storage/record"
)

// TestOwners compares owners with a plain model, over many changes.
func TestOwners(t *testing.T) {
	o, r := newOwners(new(memory)), rand.New(rand.NewPCG(3, 3))
	model, numbers, ids := map[record.UserID]record.Owner{}, map[record.UserID]uint32{}, []record.UserID{}
	for i := range 30_000 {
		v := record.Owner{ID: record.UserID(r.Uint64()), Epoch: r.Uint32(), State: record.UserState(r.IntN(4)), UID: fmt.Sprintf("user-%d", i)}
		switch {
		case i%100 == 0:
			v.UID = strings.Repeat("ü", r.IntN(127)) + "x"
		case i%101 == 0: // about as long as there is room in a record
			v.UID = strings.Repeat("y", len(ownerRecord{}.name)-1+r.IntN(3))
		case i%7 == 0:
			v.ID = record.UserID(i) // similar ids, unlike random ones
		case i%3 == 0:
			v.ID = ids[r.IntN(len(ids))]
		}
		n := o.Set(v)
		if was, known := numbers[v.ID]; known && was != n {
			t.Fatalf("user %x: got another number, %d, want %d", v.ID, n, was)
		} else if !known && int(n) != len(numbers) {
			t.Fatalf("user %x: got number %d, want %d", v.ID, n, len(numbers))
		} else if !known {
			ids = append(ids, v.ID)
		}
		model[v.ID], numbers[v.ID] = v, n
	}
	living := 0
	for id, want := range model {
		got, n, ok := o.Find(id)
		if !ok || got != want || n != numbers[id] || o.At(n) != want {
			t.Fatalf("user %x: got %+v, number %d, %t, want %+v, number %d", id, got, n, ok, want, numbers[id])
		}
		if want.State != record.UserRemoved {
			living++
		}
	}
	if o.Count() != living || o.Len() != len(model) {
		t.Errorf("got %d users, %d not removed, want %d and %d", o.Len(), o.Count(), len(model), living)
	}
	for n, id := range ids {
		if v := o.At(uint32(n)); v != model[id] {
			t.Fatalf("number %d: got %+v, want %+v", n, v, model[id])
		}
	}
	if _, _, ok := o.Find(record.UserID(r.Uint64())); ok {
		t.Error("an unknown user was found")
	}
}

// TestOwnersInOrder: users that are added in the order of their ids, as in
// loading, are still found in a few steps.
func TestOwnersInOrder(t *testing.T) {
	o, r := newOwners(new(memory)), rand.New(rand.NewPCG(4, 4))
	ids := make([]record.UserID, 50_000)
	for n := range ids {
		ids[n] = record.UserID(r.Uint64())
	}
	slices.Sort(ids)
	most := 0
	for n, id := range ids {
		o.Set(record.Owner{ID: id, UID: "alice"})
		if n%100 > 0 {
			continue
		}
		steps := 0
		for at := range o.from(id) {
			if steps++; *o.index.at(at) == uint32(n+1) {
				break
			}
		}
		most = max(most, steps)
	}
	if most > 200 {
		t.Errorf("got %d steps to a user", most)
	}
}

// TestOwnersRenamed: users who are renamed forever, to short and long names, do not take
// more and more memory, and a name that a caller has does not change.
func TestOwnersRenamed(t *testing.T) {
	o := newOwners(new(memory))
	name := func(user, turn int) string {
		return fmt.Sprintf("user-%d-%d%s@example.com", user, turn, strings.Repeat("y", (user+turn)%2*100))
	}
	const users, turns = 500, 200
	var told []string
	for turn := range turns {
		for user := range users {
			n := o.Set(record.Owner{ID: record.UserID(user), UID: name(user, turn)})
			told = append(told, o.At(n).UID)
		}
	}
	for n, got := range told {
		if want := name(n%users, n/users); got != want {
			t.Fatalf("what was told: got %q, want %q", got, want)
		}
	}
	for user := range users {
		if v, _, _ := o.Find(record.UserID(user)); v.UID != name(user, turns-1) {
			t.Fatalf("user %d: got %q, want %q", user, v.UID, name(user, turns-1))
		}
	}
	if len(o.long) != users/2 {
		t.Errorf("got %d long names, want %d", len(o.long), users/2)
	}
}
