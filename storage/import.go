package storage

import "gatehouse/storage/record"

// Imported is a token with a history.
type Imported struct {
	Owner    UserID
	Name     string
	Created  int64 // ms
	LastUsed int64 // ms; Created: never
	From     Origin
	Days     []int64 // uses on the day of the last one and on the days before it, the latest first
}

// ImportUsers makes users without a password, for example for a demonstration.
// It makes all of them or none.
func (s *Store) ImportUsers(by Actor, list []User) ([]User, error) {
	err := s.change(by, func(t *tx) error {
		t.Event(Event{Action: ActionImport, Detail: "users", Count: len(list)})
		for i := range list {
			created := list[i].Created
			if err := t.add(&list[i]); err != nil {
				return err
			}
			list[i].Created = created
			if err := t.save(list[i]); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// ImportTokens makes tokens with a history. It makes all of them or none.
func (s *Store) ImportTokens(by Actor, list []Imported) ([]Token, error) {
	var tokens []Token
	err := s.change(by, func(t *tx) error {
		tokens = make([]Token, 0, len(list))
		t.Event(Event{Action: ActionImport, Detail: "tokens", Count: len(list)})
		for _, in := range list {
			v := Token{
				ID: s.keys.NewID(), Owner: in.Owner, Name: in.Name, By: by.Name,
				Created: in.Created, LastUsed: max(in.Created, in.LastUsed),
			}
			if err := t.addToken(v); err != nil {
				return err
			}
			if in.LastUsed > in.Created {
				k := record.UsageKey(v.ID)
				used := record.UsedAt(in.LastUsed)
				r := record.UsageRecord{Used: used}
				for ago, n := range in.Days[:min(len(in.Days), record.KeepDays)] {
					r.Count(record.DayOf(in.LastUsed)-int32(ago), n)
				}
				r.Saw(Seen{Origin: in.From.Cut(), Time: in.LastUsed})
				t.Put(k, r.Value())
				t.Durable(func() { t.s.table.Raise(v.ID, used); t.s.views.NoteToken(v.ID) })
			}
			tokens = append(tokens, v)
		}
		return nil
	})
	return tokens, err
}
