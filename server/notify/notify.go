// Package notify sends notices to users and administrators: a token ends soon, is used from
// a new network, or was found where it should not be; a sweep is held; there is no recent
// backup.
//
//	what happened       ending.go, network.go, lasting.go    look for it in the store, each second or each ten
//	  storage/notices   Post                                 the store keeps the notice; it drops one that it has already
//	  queue             a queue for each target, with its workers and its pauses
//	    target          the command, the webhook, the mail server
//	  storage/notices   Settle                               the target has it, and does not get it again
//
// No request waits for any of this. A notice is sent once: after a kill or a restore the
// server sends only what is left. A target gets a notice twice, with the same id, only if
// its answer is lost: the connection breaks or times out after it has taken the notice, or the
// server is killed before the answer is on the disk. Nothing can prevent that.
//
// A target that does not answer is tried again for a day. Each target waits for itself.
//
// The package never decides about users or tokens.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"gatehouse/server/config"
	"gatehouse/server/notify/target"
	"gatehouse/server/notify/wording"
	"gatehouse/storage"
	"gatehouse/storage/lasting"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
)

// mostPending is how many notices each target's queue keeps in memory. Further ones wait in
// the store, so that a target that is down does not hold up the others. When all queues are
// full, nothing more is posted, so that the audit log does not fill: tokens that end and new networks
// then wait. A site that gets another address is a new network for all its tokens at once.
const mostPending = 10_000

// rereadEvery is how often the notices in the store are read again. After the start that only
// finds what a server with the settings before a reload has posted.
const rereadEvery = 5 * time.Minute

// Needs are what a Notifier works with. Count may be shared by several.
type Needs struct {
	Store *storage.Store
	Log   *slog.Logger
	Held  func() []Hold
	Count *Count
}

// Notifier finds out what calls for a notice, and sends it to the targets of one configuration.
type Notifier struct {
	Needs
	steps  []time.Duration
	words  *wording.Words
	queues []*queue

	trouble lasting.State // of the store

	all    *notices.Walk // through all notices that a target lacks
	reread time.Time     // when that began last
	looked time.Time     // when lasting last looked at the age of the last backup
	pruned time.Time
}

// New returns a notifier. It reads the files that the configuration names.
func New(cfg config.Notify, url string, n Needs) (*Notifier, error) {
	targets, err := cfg.Targets()
	if err != nil {
		return nil, err
	}
	words, err := cfg.Words(url)
	if err != nil {
		return nil, err
	}
	if n.Count == nil {
		n.Count = NewCount()
	}
	s := &Notifier{Needs: n, words: words, all: notices.NewWalk()}
	s.trouble = lasting.State{Log: n.Log, Level: slog.LevelWarn, Begins: "no new notices are made, because the store can't be read or written; the server tries again", Ends: "new notices are made again"}
	for _, t := range targets {
		log := n.Log.With("target", t.Name())
		s.queues = append(s.queues, &queue{
			target: t, log: log, wake: make(chan struct{}, 1), has: map[record.NoticeID]bool{}, done: map[record.NoticeID]bool{},
			most: mostPending, rest: new(notices.Walk),
			failing: lasting.State{Log: log, Level: slog.LevelWarn, Begins: "notices can't be delivered", Ends: "notices are delivered again, or none are waiting"},
		})
	}
	if len(targets) > 0 {
		s.steps = cfg.Steps()
	}
	if cfg.Webhook != "" && cfg.WebhookSecretFile == "" {
		n.Log.Warn("the webhook is not signed, so its receiver can't tell who sends; see notify.webhook_secret_file")
	}
	return s, nil
}

// Run looks for events and sends notices until the context ends, and then waits up to
// graceful for the deliveries under way.
func (s *Notifier) Run(ctx context.Context) {
	for s.Store.Opened(ctx) != nil {
		if ctx.Err() != nil {
			return
		}
		select { // the store can't be opened, or is closing
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
	var workers sync.WaitGroup
	defer s.close()
	defer workers.Wait()
	s.start(ctx, &workers)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		if err := s.look(); !errors.Is(err, storage.ErrClosed) {
			s.trouble.Set(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// start starts the workers of each target.
func (s *Notifier) start(ctx context.Context, workers *sync.WaitGroup) {
	s.Store.Notices().Use(s.steps)
	for _, q := range s.queues {
		for range atOnce(q.target.Name()) {
			workers.Go(func() { s.work(ctx, q) })
		}
	}
}

func (s *Notifier) close() {
	s.trouble.Stop()
	for _, q := range s.queues {
		q.failing.Stop()
		q.target.Close()
	}
}

// look finds out what has happened since the last look, and posts it.
func (s *Notifier) look() error {
	err := errors.Join(s.networks(), s.read())
	now, doubt := s.Store.Now()
	if doubt != nil {
		return err // nobody knows what ends soon
	}
	if len(s.queues) > 0 {
		err = errors.Join(err, s.endings(now), s.lasting(now))
	}
	if now.Sub(s.pruned).Abs() > 24*time.Hour {
		s.pruned = now
		err = errors.Join(err, s.Store.Notices().Prune(now.UnixMilli()))
	}
	return err
}

// read gives the queues what waits in the store and not in memory.
func (s *Notifier) read() error {
	if time.Since(s.reread) >= rereadEvery {
		s.reread = time.Now()
		s.all.News()
		for _, q := range s.queues {
			q.recount()
		}
	}
	for s.all.Due() {
		if err := s.pending(s.all, mostPending); err != nil {
			return err
		}
	}
	for _, q := range s.queues {
		if q.len() > q.most/2 {
			continue
		}
		for room := q.most - q.len(); room > 0 && q.rest.Due(); room = q.most - q.len() {
			if err := s.pending(q.rest, room); err != nil {
				return err
			}
		}
		if !q.rest.Due() {
			q.recount()
		}
	}
	return nil
}

// pending tells the targets of the next notices of a walk.
func (s *Notifier) pending(w *notices.Walk, most int) error {
	for _, q := range s.queues {
		q.forget()
	}
	list, err := s.Store.Notices().Pending(w, most)
	s.Tell(list)
	return err
}

// draft returns the notice of an event about a user's token, or about nobody's. The id is
// derived from says.
func (s *Notifier) draft(e wording.Event, user storage.UserID, says ...string) (n record.Notice, err error) {
	if len(s.queues) == 0 {
		return n, nil
	}
	n.ID, n.User = s.Store.Notices().ID(append([]string{e.Type}, says...)...), user
	e.ID, e.Owner = n.ID.String(), s.recipient(user)
	if e.Time == 0 {
		now, _ := s.Store.Now()
		e.Time = now.UnixMilli()
	}
	for _, q := range s.queues {
		if name := q.target.Name(); name != target.NameMail || e.Owner != "" && slices.Contains(wording.Mailed, e.Type) {
			n.Left = append(n.Left, name)
		}
	}
	n.Body, err = json.Marshal(e)
	return n, err
}

// recipient returns who is told about a user's tokens: the user, or the owner of a service
// account; empty: there is nobody.
func (s *Notifier) recipient(id storage.UserID) string {
	if id == 0 {
		return ""
	}
	u, err := s.Store.UserByID(id)
	if err == nil && u.IsService() {
		owner, failed := s.Store.ServiceOwner(id)
		if failed != nil || owner == 0 {
			return ""
		}
		u, err = s.Store.UserByID(owner)
	}
	if err != nil || u.State == storage.UserRemoved {
		return ""
	}
	return u.UID
}

// post posts drafts, and tells the targets of those that are news.
func (s *Notifier) post(actor string, drafts ...notices.Draft) error {
	if len(drafts) == 0 {
		return nil
	}
	list, err := s.Store.Notices().Post(actor, drafts...)
	s.Tell(list)
	return err
}

// Tell gives notices that the store has to the queues of their targets.
func (s *Notifier) Tell(list []record.Notice) {
	for _, n := range list {
		for _, name := range n.Left {
			if q := s.queue(name); q != nil {
				q.add(n)
				continue
			}
			s.Log.Warn("a notice is not sent: its target is no longer configured", "target", name, "id", n.ID)
			if err := s.Store.Notices().Settle(n.ID, name); err != nil {
				s.Log.Warn("that a notice is not sent could not be recorded; the next start tries again", "id", n.ID, "error", err)
			}
		}
	}
}

func (s *Notifier) queue(name string) *queue {
	for _, q := range s.queues {
		if q.target.Name() == name {
			return q
		}
	}
	return nil
}

// errRevoked means that the end of a token is no news any more: its owner has revoked it
// while the notice waited.
var errRevoked = errors.New("the token was revoked")

// message writes a notice for a target.
func (s *Notifier) message(n record.Notice, mail bool) (m target.Message, err error) {
	m.ID, m.JSON = n.ID.String(), n.Body
	var e wording.Event
	if err := json.Unmarshal(n.Body, &e); err != nil {
		return m, &target.RefusedError{Err: err, Final: true}
	}
	if id, err := storage.ParseID(e.Token); err == nil && e.Type == wording.TokenEnds {
		if t, err := s.Store.Token(id); err == nil && t.Dead() {
			return m, errRevoked
		}
	}
	if !mail {
		return m, nil
	}
	if m.To = s.recipient(n.User); m.To == "" {
		return m, &target.RefusedError{Err: errors.New("the user was removed"), Final: true}
	}
	text, err := s.words.Mail(e)
	m.Subject, m.Text = text.Subject, text.Text
	return m, err
}

// Answer is what a target answered to a test.
type Answer struct {
	Target, Answer string
	Err            error
}

// Test sends an event of the type test to each target, at once and not by the queues. Mail
// goes to an address, or, if that is empty, to the sender.
func (s *Notifier) Test(ctx context.Context, by, to string) (list []Answer) {
	now, _ := s.Store.Now()
	e := wording.Event{Type: wording.Test, Time: now.UnixMilli(), UID: by}
	e.ID = s.Store.Notices().ID(wording.Test, by, fmt.Sprint(time.Now().UnixNano())).String()
	body, err := json.Marshal(e)
	text, failed := s.words.Mail(e)
	list = make([]Answer, len(s.queues))
	var all sync.WaitGroup
	for i, q := range s.queues {
		list[i] = Answer{Target: q.target.Name(), Err: errors.Join(err, failed)}
		if list[i].Err != nil {
			continue
		}
		m := target.Message{ID: e.ID, JSON: body, To: to, Subject: text.Subject, Text: text.Text}
		if sender, ok := q.target.(interface{ Sender() string }); ok && to == "" {
			m.To = sender.Sender()
		}
		all.Go(func() { list[i].Answer, list[i].Err = q.target.Deliver(ctx, m) })
	}
	all.Wait()
	return list
}
