package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"gatehouse/server/config"
	"gatehouse/server/notify/smtptest"
	"gatehouse/server/notify/wording"
	"gatehouse/storage"
	"gatehouse/storage/notices"
	"gatehouse/storage/record"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

func TestMain(m *testing.M) {
	storagetest.InMemory()
	m.Run()
}

// hook is the receiver of a webhook.
type hook struct {
	*httptest.Server
	mu     sync.Mutex
	got    []wording.Event
	status int
	hold   chan struct{} // nil: it answers at once
}

func newHook(t *testing.T) *hook {
	h := &hook{status: http.StatusNoContent}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e wording.Event
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &e); err != nil {
			t.Errorf("%s: %v", b, err)
		}
		h.mu.Lock()
		status, hold := h.status, h.hold
		if status < 300 {
			h.got = append(h.got, e)
		}
		h.mu.Unlock()
		if hold != nil {
			<-hold
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) answer(status int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status = status
}

// events returns the events that came, and forgets them.
func (h *hook) events() []wording.Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.got = nil }()
	return h.got
}

func (w *world) wantTypes(h *hook, want ...string) []wording.Event {
	w.Helper()
	got := h.events()
	var types []string
	for _, e := range got {
		types = append(types, e.Type)
	}
	slices.Sort(types)
	if !slices.Equal(types, want) {
		w.Errorf("got %q, want %q", types, want)
	}
	return got
}

// pass lets time pass, with a backup at the end.
func (w *world) pass(d time.Duration) {
	w.Helper()
	w.clock.Pass(d)
	must.Do(w, w.store.NoteBackup())
}

func steps(list ...time.Duration) (all []config.Lifetime) {
	for _, d := range list {
		all = append(all, config.Lifetime{Duration: d})
	}
	return all
}

// TestSteps: a step is told once, not if the token was made within it, only the latest
// after a standstill, and not while the user is disabled. The end of a token's key counts.
func TestSteps(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL, BeforeExpiry: steps(30*day, 7*day, day)})
	ada := w.user("ada@example.com")
	long, short, endless := w.token(ada.ID, 40*day), w.token(ada.ID, 20*day), w.token(ada.ID, 0)
	w.token(ada.ID, time.Hour)
	w.settled()
	w.wantTypes(h)
	told := func(want ...string) {
		t.Helper()
		w.settled()
		w.settled()
		var got []string
		for _, e := range h.events() {
			got = append(got, e.Token[:10]+" "+e.Before)
			if e.UID != "ada@example.com" || e.Owner != e.UID || e.Name != "nightly" || e.Type != wording.TokenEnds {
				t.Errorf("got %+v", e)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	name := func(v storage.Token) string { return v.ID.String()[:10] }
	w.pass(10 * day)
	told(name(long) + " 30d")
	w.pass(3*day - time.Millisecond)
	told()
	w.pass(time.Millisecond)
	told(name(short) + " 7d")
	must.Do(w, w.store.DisableUser(storage.Actor{Name: "test"}, "ada@example.com"))
	w.pass(6*day + time.Hour)
	told()
	must.Do(w, w.store.EnableUser(storage.Actor{Name: "test"}, "ada@example.com"))
	w.pass(2 * time.Hour)
	told(name(short) + " 1d")
	w.pass(20*day + 12*time.Hour) // past 7d and 1d of the long one
	told(name(long) + " 1d")
	w.pass(10 * day)
	told()

	_, err := w.store.RotateKey(storage.Actor{Name: "test"}, 5*day)
	must.Do(w, err)
	told(name(endless) + " 7d")
	w.clock.Move(365 * day) // by a wrong clock nothing ends
	told()
}

// TestNetworks: the first network of a token is its own, the others are told once each,
// also after a restart, and the audit log has them. Of one user, they are bounded.
func TestNetworks(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL})
	ada := w.user("ada@example.com")
	v := w.token(ada.ID, 0)
	use := func(addresses ...string) {
		t.Helper()
		for _, a := range addresses {
			must.Get(w.store.Authenticate(w.store.Reveal(v).Reveal(), storage.Origin{Address: netip.MustParseAddr(a), Agent: "agent"}))(t)
			w.clock.Pass(time.Second)
		}
		w.close() // the next start brings the uses into the index
		w.open()
		<-w.store.Counted()
	}
	told := func(want ...string) {
		t.Helper()
		w.settled()
		w.settled()
		var got []string
		for _, e := range h.events() {
			got = append(got, e.Network)
			if e.Type != wording.TokenNetwork || e.Token != v.ID.String() || e.Address == "" || e.Agent != "agent" {
				t.Errorf("got %+v", e)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	use("192.0.2.1", "203.0.113.200", "192.0.2.1") // the first network was used last, too
	told("203.0.113.0/24")
	use("192.0.2.2", "203.0.113.7", "203.0.113.8", "2001:db8:1::1", "2001:db8:1:2::1")
	told("2001:db8:1::/48")
	use("192.0.2.9", "203.0.113.9", "2001:db8:1:3::1")
	told()
	use("192.0.2.9", "203.0.113.9", "198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4", "198.51.100.5")
	told("198.51.100.0/24")
	use("192.0.2.9", "203.0.113.9") // pushed out of the last five addresses in between
	told()

	for n := range mostADay + 3 {
		use(fmt.Sprintf("10.0.%d.1", n))
	}
	w.settled()
	h.events()
	events := 0
	for e, err := range w.store.Audit().Events(context.Background(), 0) {
		must.Do(w, err)
		if e.Action == storage.ActionTokenNetwork {
			events++
		}
	}
	if events != 3+mostADay {
		t.Errorf("%d events, want 3 and those of one day, %d", events, mostADay)
	}
}

// TestNetworksWait: new networks wait for room as ends do. A site that gets another address
// is a new network for all its tokens at once.
func TestNetworksWait(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL})
	v := w.token(w.user("ada@example.com").ID, 0)
	for _, a := range []string{"192.0.2.1", "203.0.113.7"} {
		_, err := w.store.Authenticate(w.store.Reveal(v).Reveal(), storage.Origin{Address: netip.MustParseAddr(a)})
		must.Do(w, err)
		w.clock.Pass(time.Second)
	}
	w.close()
	w.open()
	<-w.store.Counted()
	q := w.n.queues[0]
	full := func(n uint32) {
		q.mu.Lock()
		defer q.mu.Unlock()
		clear(q.has)
		for i := range n {
			q.has[record.NoticeID{byte(i), byte(i >> 8)}] = true
		}
	}
	full(mostPending)
	must.Do(w, w.n.look())
	if n := q.len(); n != mostPending {
		t.Errorf("%d notices wait, want at most %d", n, mostPending)
	}
	full(0)
	w.settled()
	w.wantTypes(h, wording.TokenNetwork)
}

// TestOvertaken: the end of a token that is revoked while its notice waits is no news.
func TestOvertaken(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL, BeforeExpiry: steps(day)})
	ada := w.user("ada@example.com")
	revoked, kept := w.token(ada.ID, 2*day), w.token(ada.ID, 2*day)
	h.answer(http.StatusServiceUnavailable)
	w.pass(day)
	must.Do(w, w.n.look())
	w.eventually("the webhook fails", func() bool { return w.n.Figures()["webhook"] == Figures{2, true} })
	_, err := w.store.RevokeTokens(storage.Actor{Name: "test"}, revoked.ID)
	must.Do(w, err)
	w.close()
	h.answer(http.StatusOK)
	w.open() // at once, not after the pause
	w.settled()
	if got := w.wantTypes(h, wording.TokenEnds); len(got) == 1 && got[0].Token != kept.ID.String() {
		t.Errorf("got %+v", got[0])
	}
	if n := w.n.Count.Outcomes()[Outcome{"webhook", GivenUp}]; n != 0 {
		t.Errorf("%d notices are given up", n)
	}
}

// TestStoreInTrouble: while the store takes no changes, no look walks through all tokens.
// Later all is told.
func TestStoreInTrouble(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL, BeforeExpiry: steps(day)})
	all := w.store.Notices()
	walks, walk, change, full := 0, all.Walk, all.Change, errors.New("disk full")
	all.Walk = func(fn func(id storage.ID, created, end int64) error) error { walks++; return walk(fn) }
	ada := w.user("ada@example.com")
	w.token(ada.ID, 2*day)
	w.token(ada.ID, 2*day)
	w.pass(day)
	all.Change = func(string, func(notices.Change) error) error { return full }
	for range 5 {
		if err := w.n.look(); !errors.Is(err, full) {
			t.Fatalf("got %v, want %v", err, full)
		}
		w.pass(soon)
	}
	if walks != 1 {
		t.Errorf("%d walks, want 1", walks)
	}
	all.Change = change
	w.settled()
	w.wantTypes(h, wording.TokenEnds, wording.TokenEnds)
}

// TestGiveUpInDoubt: a clock that is set forward makes no notice too old.
func TestGiveUpInDoubt(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL})
	one := &waiting{Notice: record.Notice{Made: w.clock.Milli()}}
	down := errors.New("down")
	w.clock.Move(2 * tryFor)
	if w.n.judge(w.n.queues[0], one, down) {
		t.Error("the notice is given up")
	}
	w.store.ConfirmTime(storage.Actor{Name: "test"})
	if !w.n.judge(w.n.queues[0], one, down) {
		t.Error("the notice is not given up")
	}
}

// TestLasting: a hold is told when it begins, once, also after a restart that does not
// know yet whether it lasts. A late backup is told once.
func TestLasting(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL})
	hold := Hold{Sweep: "users ldap", Source: "ldap", Count: 7, Known: true, Why: "too many"}
	look := func(one Hold, want ...string) {
		t.Helper()
		w.held = []Hold{one}
		w.clock.Pass(time.Minute)
		w.settled()
		w.settled()
		w.wantTypes(h, want...)
	}
	look(hold, wording.SweepHeld)
	w.close()
	w.open()
	look(Hold{Sweep: hold.Sweep})
	look(hold)
	look(Hold{Sweep: hold.Sweep, Known: true})
	look(hold, wording.SweepHeld)
	w.user("ada@example.com")
	w.clock.Pass(3 * day)
	look(hold, wording.BackupLate)
	w.close()
	w.open()
	w.clock.Pass(10 * day)
	look(hold)
	must.Do(w, w.store.NoteBackup())
	look(hold)
	w.clock.Pass(3 * day)
	look(hold, wording.BackupLate)
}

// TestQueues: a target that fails is tried again and does not hold up another one. After
// a day a notice is given up. A notice that will never be taken is given up at once.
func TestQueues(t *testing.T) {
	h, mail := newHook(t), smtptest.New(t, smtptest.Options{})
	w := newWorld(t, config.Notify{Webhook: h.URL, SMTP: "smtp://" + mail.Address, From: "g@example.com", BeforeExpiry: steps(day)})
	ada, bob := w.user("ada@example.com"), w.user("bob@example.com")
	mail.Refuse(func(to string) error {
		if strings.HasPrefix(to, "bob") {
			return &smtp.SMTPError{Code: 550, Message: "no such user"}
		}
		return nil
	})
	h.answer(http.StatusServiceUnavailable)
	v := w.token(ada.ID, 2*day)
	w.token(bob.ID, 2*day)
	w.pass(day)
	must.Do(w, w.n.look())
	w.eventually("mail does not wait for the webhook", func() bool { return len(mail.Mails()) == 1 })
	w.eventually("it is given up", func() bool { return w.n.Figures()["mail"] == Figures{} })
	if got := mail.Mails()[0]; got.To != "ada@example.com" || !strings.Contains(got.Data, v.ID.String()) || !strings.Contains(got.Data, "https://tokens.example.com") {
		t.Errorf("got %+v", got)
	}
	count := func(target, outcome string) int { return w.n.Count.Outcomes()[Outcome{target, outcome}] }
	w.eventually("the webhook fails", func() bool {
		return w.n.Figures()["webhook"] == Figures{2, true} && count("webhook", Failed) > 0
	})
	if count("mail", GivenUp) != 1 || count("mail", Delivered) != 1 {
		t.Errorf("got %v", w.n.Count.Outcomes())
	}
	w.close() // the queue outlives the server
	w.open()
	h.answer(http.StatusOK)
	w.settled()
	w.wantTypes(h, wording.TokenEnds, wording.TokenEnds)
	if len(mail.Mails()) != 1 {
		t.Errorf("mail is repeated: %d", len(mail.Mails()))
	}

	h.answer(http.StatusBadGateway)
	w.token(ada.ID, 2*day)
	w.pass(day)
	must.Do(w, w.n.look())
	w.eventually("the webhook fails", func() bool { return count("webhook", Failed) > 0 })
	w.pass(tryFor)
	w.close()
	w.open() // at once, not after the pause
	w.settled()
	w.eventually("it is given up", func() bool { return count("webhook", GivenUp) == 1 })
	w.eventually("a target that nothing waits for is not failing", func() bool { return w.n.Figures()["webhook"] == Figures{} })
	if !strings.Contains(w.log.String(), "a notice was not delivered and is given up") {
		t.Error("the log does not say so")
	}
}

// TestStopWaits: a delivery under way when the server stops is not repeated.
func TestStopWaits(t *testing.T) {
	h := newHook(t)
	h.hold = make(chan struct{})
	w := newWorld(t, config.Notify{Webhook: h.URL, BeforeExpiry: steps(day)})
	w.token(w.user("ada@example.com").ID, 2*day)
	w.clock.Pass(day)
	must.Do(w, w.n.look())
	w.eventually("it is under way", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return len(h.got) == 1 })
	time.AfterFunc(200*time.Millisecond, func() { close(h.hold) })
	w.close()
	w.open()
	w.settled()
	w.wantTypes(h, wording.TokenEnds)
}

// TestService: of a service account's token its owner is told by mail.
func TestService(t *testing.T) {
	mail, got := smtptest.New(t, smtptest.Options{}), filepath.Join(t.TempDir(), "got")
	program := filepath.Join(t.TempDir(), "program")
	must.Do(t, os.WriteFile(program, []byte("#!/bin/sh\ncat >>"+got+"\n"), 0o700))
	w := newWorld(t, config.Notify{Command: program, SMTP: "smtp://" + mail.Address, From: "g@example.com", BeforeExpiry: steps(day)})
	w.user("ada@example.com")
	deploy, err := w.store.AddService(storage.Actor{Name: "test"}, "deploy", "ada@example.com", "", "")
	must.Do(w, err)
	w.token(deploy.ID, 2*day)
	w.clock.Pass(day)
	w.settled()
	if got := mail.Mails(); len(got) != 1 || got[0].To != "ada@example.com" || !strings.Contains(got[0].Data, "deploy@service") {
		t.Errorf("got %+v", got)
	}
	w.token(deploy.ID, 2*day)
	must.Do(w, w.store.RemoveUser(storage.Actor{Name: "test"}, "ada@example.com"))
	w.clock.Pass(day)
	w.settled()
	text, err := os.ReadFile(got)
	must.Do(w, err)
	var list []wording.Event
	for line := range strings.Lines(string(text)) {
		var e wording.Event
		must.Do(w, json.Unmarshal([]byte(line), &e))
		list = append(list, e)
	}
	if len(mail.Mails()) != 1 || len(list) != 2 || list[0].Owner != "ada@example.com" || list[0].UID != "deploy@service" || list[1].Owner != "" {
		t.Errorf("got %+v and %d mails", list, len(mail.Mails()))
	}
}
