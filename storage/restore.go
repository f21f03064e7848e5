package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"gatehouse/storage/backup"
	"gatehouse/storage/journal"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
	"gatehouse/storage/restore"
)

// Restore puts a backup into a data directory that no process holds: see [restore.Run].
func Restore(ctx context.Context, from io.Reader, dir string, opts Options) (restore.Result, error) {
	if opts.KeyFile == "" {
		opts.KeyFile = filepath.Join(dir, "key")
	}
	if opts.Progress == nil {
		opts.Progress = func(string, int, int) {}
	}
	return restore.Run(ctx, from, dir, restore.Options{
		KeyFile: opts.KeyFile, Key: opts.Key, Holder: opts.Holder, Progress: opts.Progress,
		Finish: func(ctx context.Context, stage string, m backup.Manifest, ends record.Ends, last uint64) (int, error) {
			return finishStage(ctx, stage, opts, m, ends, last)
		},
	})
}

// finishStage opens the staged store, which builds its index. Then it ends the
// tokens and users in it that have ended since the backup. All of this happens
// before the store is moved into its place.
func finishStage(ctx context.Context, stage string, opts Options, m backup.Manifest, ends record.Ends, last uint64) (n int, err error) {
	opts.Progress("Building the index", 0, 0)
	s, err := openStore(ctx, stage, opts, func(end journal.Position) error {
		if m.HasJournal() && end != m.Journal {
			return &backup.Error{Reason: "its journal continues past its end"}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	defer func() {
		// This opening does not count as the first start.
		err = errors.Join(err, s.Close(), s.opening.Marks.ExpectFirstStart())
	}()
	by, all := Actor{Name: "restore"}, len(ends.Tokens)+len(ends.Users)+len(ends.Notices)+len(ends.Known)
	n, err = restore.Apply(ends, MostRevoked,
		func(fn func(restore.Ender) error) error { return s.takeAway(by, func(t *tx) error { return fn(t) }) },
		func(done int) error {
			opts.Progress("Applying revocations", done, all)
			return ctx.Err()
		})
	if err != nil {
		return n, err
	}
	detail := fmt.Sprintf("of a backup that ends with event %d", m.Last())
	if last > 0 {
		detail += fmt.Sprintf(", over a store that ended with event %d", last)
	}
	return n, s.change(by, func(t *tx) error {
		t.Event(Event{Action: ActionRestore, Detail: detail})
		return ctx.Err()
	})
}

// dropRevoked replaces the record of a revoked token by its end. The caller deletes
// everything else that is stored about the token.
func (t *tx) dropRevoked(v Token) error {
	t.Delete(record.TokenKey(v.ID))
	return t.keepTokenEnd(v.ID, v.End())
}

// keepTokenEnd merges an end into the stored end of a token that has no record.
func (t *tx) keepTokenEnd(id ID, end record.TokenEnd) error {
	old, err := t.TokenEnd(id)
	if err != nil {
		return err
	}
	if old != (record.TokenEnd{}) {
		end = end.With(old)
	}
	if end != old {
		t.Put(record.TokenEndKey(id), end.Value())
	}
	return nil
}

func (t *tx) keepUserEnd(id UserID, end record.UserEnd) error {
	b, ok, err := t.Get(record.UserEndKey(id))
	if err != nil {
		return err
	}
	if ok {
		old, err := record.ParseUserEnd(b)
		if err != nil {
			return err
		}
		if end = end.With(old); end == old {
			return nil
		}
	}
	if end != (record.UserEnd{}) { // a zero end belongs to a user who was always active
		t.Put(record.UserEndKey(id), end.Value())
	}
	return nil
}

// EndToken applies an end to a token, and reports whether that revokes the token. A
// secret that a rotation has ended, perhaps because it had leaked, must not become
// valid again.
func (t *tx) EndToken(id ID, end record.TokenEnd) (revoked bool, err error) {
	v, err := t.Token(id)
	if errors.Is(err, ErrNoToken) {
		return false, t.keepTokenEnd(id, end)
	}
	if err != nil || v.Revoked != 0 {
		return false, err
	}
	if end.Revoked != 0 {
		return t.revoke(id)
	}
	all := v.End().With(end)
	if all == v.End() {
		return false, nil
	}
	v.Generation, v.Overlap = all.Generation, all.Overlap
	return false, t.update(v, ActionTokenRetire)
}

// EndUser sets a user to the later of two states, and reports whether that ends the
// user.
func (t *tx) EndUser(id UserID, end record.UserEnd) (ended bool, err error) {
	u, err := t.User(id)
	if errors.Is(err, ErrNoUser) {
		return false, t.keepUserEnd(id, end)
	}
	if err != nil || u.State == UserRemoved {
		return false, err
	}
	const why = "before the restore"
	all := u.End().With(end)
	if all == u.End() {
		return false, nil
	}
	if all.State == UserRemoved {
		return true, t.remove(u, why)
	}
	if all.State != u.State {
		action := map[UserState]string{UserActive: ActionUserEnable, UserSuspended: ActionUserSuspend, UserDisabled: ActionUserDisable}[all.State]
		t.Event(Event{Action: action, UID: u.UID, Owner: u.ID, Detail: why})
		u.Suspension = Suspension{}
		u.Epoch++
	}
	u.State, u.StateAt = all.State, all.At
	return all.State != UserActive, t.save(u)
}

// Notice adds what the replaced store knew of a notice.
func (t *tx) Notice(n record.Notice) error { return notices.MergeNotice(noticeChange{t}, n) }

// Know adds what the replaced store knew of a token.
func (t *tx) Know(id ID, k record.Known) error { return notices.MergeKnown(noticeChange{t}, id, k) }

// RestoredAt is when the store was first opened after a restore, in ms; 0 if it
// never was restored. The last uses in a backup are older than that.
func (s *Store) RestoredAt() int64 {
	ms, known := s.opening.Marks.FirstStart(s.seals)
	if !known {
		return s.clock.Now() // a late time is safe
	}
	return s.Past(ms)
}
