package storage

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"gatehouse/storage/disk"
	"gatehouse/storage/index"
	"gatehouse/storage/keys"
	"gatehouse/storage/lasting"
	"gatehouse/storage/read"
	"gatehouse/storage/record"
	"gatehouse/storage/table"
	"gatehouse/storage/uses"
)

// flushTick is how often a slice of the uses is written. All slices are written in
// less than a second, so that a kill loses about one second of uses even when a slice is
// late (see upkeep for when it loses more). mergeTick is the part of each tick that brings
// uses into the index.
const (
	flushTick = 800 * time.Millisecond / uses.Slices
	mergeTick = flushTick / 100
)

// upkeep makes data in memory durable. Each second it writes uses to their log and the
// expiring values, such as failed logins, to the index. More slowly, it brings uses into
// the index. While the disk is short or the index is behind, it writes nothing, and a kill
// loses everything since that began.
type upkeep struct {
	s        *Store
	uses     lasting.State // uses can't be saved
	slice    int           // of the uses that failed last
	sessions lasting.State // the last uses of sessions can't be saved
}

func (u *upkeep) init(s *Store, log *slog.Logger) {
	u.s = s
	u.uses = lasting.State{Log: log, Level: slog.LevelWarn, Begins: "uses could not be saved; the server tries again", Ends: "uses are saved again"}
	u.sessions = lasting.State{Log: log, Level: slog.LevelWarn, Begins: "the last uses of sessions are not saved", Ends: "the last uses of sessions are saved again"}
}

func (u *upkeep) stop() {
	u.uses.Stop()
	u.sessions.Stop()
}

// noteSaved takes the outcome of saving a slice of the uses. The problem is over when the
// slice that failed last is saved: other slices may have nothing to save.
func (u *upkeep) noteSaved(slice int, err error) {
	switch {
	case err != nil:
		u.slice = slice
		u.uses.Set(err)
	case slice == u.slice:
		u.uses.Set(nil)
	}
}

// run writes the uses and the expiring values. A slow slice does not delay
// the next ones.
func (u *upkeep) run() {
	due := time.Now().Add(flushTick)
	timer := time.NewTimer(flushTick)
	defer timer.Stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for slice := 0; ; slice = (slice + 1) % uses.Slices {
		select {
		case <-timer.C:
			u.tick(ctx, slice)
		case <-u.s.closing:
			return
		}
		now := time.Now()
		if due = due.Add(flushTick); now.Sub(due) > uses.Slices*flushTick {
			due = now // the machine was asleep
		}
		timer.Reset(due.Sub(now))
	}
}

func (u *upkeep) tick(ctx context.Context, slice int) {
	s := u.s
	if slice == 0 {
		s.Now() // notice a jump of the clock within a second
		if disk.IsClosed(s.opening.Loaded()) {
			s.clock.Rectify(s.table)
		}
	}
	if s.space.Short() != nil {
		return // the uses stay in memory
	}
	if !s.IsOpen() {
		u.noteSaved(slice, s.uses.Save(slice))
		return
	}
	s.space.KeepBallast() // it may have been dropped
	if s.index.Behind() != nil {
		s.writer.Wake()
		return
	}
	merge := mergeTick
	if s.index.Damaged() {
		merge = 0 // it will be built again: bring nothing into it
	}
	err := s.uses.Tick(slice, merge)
	if errors.Is(err, ErrDamaged) {
		s.index.NoteDamage(err)
		err = nil
	}
	if slice == 0 {
		err = errors.Join(err, s.unlogged.expiring.Save())
	}
	u.noteSaved(slice, err)
	if slice == 0 {
		s.checkpoints.start(ctx)
	}
}

// save writes all uses in memory to their log, and all expiring values to the index.
func (u *upkeep) save() error { return errors.Join(u.s.uses.SaveAll(), u.s.unlogged.expiring.Save()) }

// flush brings all uses and expiring values into the index.
func (u *upkeep) flush(ctx context.Context) error {
	s := u.s
	if err := s.opening.Await(); err != nil {
		return err
	}
	select {
	case <-s.uses.Counted():
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closing:
		return ErrClosed
	}
	if err := s.uses.Err(); err != nil {
		return err
	}
	if err := u.save(); err != nil {
		return err
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(time.Hour)
	}
	return s.uses.Merge(end, s.stillOpen)
}

// newUses makes the flusher. The table must exist.
func newUses(s *Store) *uses.Flusher {
	return uses.New(uses.Options{
		Table: s.table, Log: s.opening.UseLog,
		Update:    s.upkeep.updateUsages,
		Noted:     s.views.NoteUses,
		Plausible: s.clock.Plausible,
		// Before the index is compared, a tick could wait for the comparison
		// for seconds, and a kill would lose the uses of that time.
		Hurry:   func() bool { return !disk.IsClosed(s.opening.Compared()) },
		Full:    func(err error) bool { return errors.Is(err, ErrNoSpace) },
		Closing: s.closing,
	})
}

// Counted is closed when the uses that a stop or a kill left in their log are
// counted, some time after Open. Until then listings show fewer uses.
func (s *Store) Counted() <-chan struct{} { return s.uses.Counted() }

// recoverUses brings the uses that their log had at the start into the index. That is the
// last step of the start.
func (u *upkeep) recoverUses() {
	s := u.s
	err := s.uses.Recover(nil)
	if err != nil && !s.isClosing() {
		s.failed(slog.LevelError, "uses before this start are not counted; the next start tries again", err)
	}
	if errors.Is(err, ErrDamaged) && !s.index.Damaged() {
		s.index.NoteDamage(err)
	}
}

// runViews reads what queries ask for, and keeps it up to date until the store closes.
func (u *upkeep) runViews() {
	s, start := u.s, time.Now()
	s.views.Run(s.opts.Early, func() {
		if s.facts != nil {
			s.facts.Close() // frees the space of the removed file
		}
		debug.FreeOSMemory() // the garbage of reading
		s.opts.Log.Debug("what queries ask for is in memory", "tokens", s.table.Len(), "took", time.Since(start))
	})
}

// updateUsages changes the usages of a few tokens in the index, in one transaction.
func (u *upkeep) updateUsages(ids []keys.ID, change func(keys.ID, *record.UsageRecord)) error {
	var sighted []record.Sighting
	var seen []table.Sight
	err := u.s.index.Write(200*len(ids), func(out *index.Update) error {
		rd := u.s.reads.At(&out.View)
		runtime.Gosched() // let requests run first
		for _, id := range ids {
			if there, err := rd.HasToken(id); err != nil || !there {
				if err != nil {
					return err
				}
				continue // its record was dropped, and its usage with it
			}
			r, err := rd.Usage(id)
			if err != nil {
				return err
			}
			before := slices.Clone(r.Seen)
			change(id, &r)
			if !u.s.uses.Recovered() { // uses before this start: the table has never had them
				seen = append(seen, sightsOf(id, r.Seen)...)
			}
			k := record.UsageKey(id)
			if err := out.Put(k, r.Value(), 0); err != nil {
				return err
			}
			list, err := putSightings(out, rd, id, before, &r.Usage)
			if err != nil {
				return err
			}
			sighted = append(sighted, list...)
		}
		return nil
	})
	if err == nil {
		u.s.views.NoteUses(func() []table.Sight { return seen })
		for _, one := range sighted {
			u.s.notices.Sightings.Sighted(one.Key())
		}
	}
	return err
}

// sightsOf lists where a token was seen. Without an address its record counts as changed.
func sightsOf(id keys.ID, list []record.Seen) (sights []table.Sight) {
	if len(list) == 0 {
		return []table.Sight{{ID: id}}
	}
	for _, v := range list {
		sights = append(sights, table.Sight{ID: id, From: v.Address})
	}
	return sights
}

// putSightings notes the networks in which a token was not used before. It does so together
// with the usage, so that a kill loses both or neither.
func putSightings(out *index.Update, rd *read.Reader, id keys.ID, before []record.Seen, after *record.Usage) (list []record.Sighting, err error) {
	list, err = record.Sightings(id, before, after, func() (k record.Known, waits bool, err error) {
		for range rd.Scan(record.SightingsOf(id)) {
			waits = true
			break
		}
		k, err = rd.Known(id)
		return k, waits, err
	})
	for _, one := range list {
		b, err := one.Value()
		if err == nil {
			err = out.Put(one.Key(), b, 0)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, err
}

// failed logs that work in the background failed, unless the store now accepts no
// changes: that is the cause, and the server logs it once. It reports
// whether that is so; then the work is to be done when changes are possible again.
func (s *Store) failed(level slog.Level, message string, err error) (refusing bool) {
	s.space.Now() // the failure may be newer than the last measurement
	if s.Writable() != nil {
		return true
	}
	s.opts.Log.Log(context.Background(), level, message, "error", err)
	return false
}
