package notify

import (
	"net/http"
	"net/netip"
	"testing"

	"gatehouse/server/config"
	"gatehouse/server/notify/smtptest"
	"gatehouse/server/notify/wording"
	"gatehouse/storage"
	"gatehouse/storage/index"
	"gatehouse/storage/notices"
	"gatehouse/storage/storagetest/must"
)

// counted counts how often an index is read.
type counted struct {
	notices.Index
	views int
}

func (c *counted) View(fn func(*index.View) error) error {
	c.views++
	return c.Index.View(fn)
}

// TestIdle: while nothing is new, a look reads nothing, however much was told before. What is
// new is told without another start.
func TestIdle(t *testing.T) {
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL, BeforeExpiry: steps(day)})
	v := w.token(w.user("ada@example.com").ID, 2*day)
	use := func(a string) {
		t.Helper()
		_, err := w.store.Authenticate(w.store.Reveal(v).Reveal(), storage.Origin{Address: netip.MustParseAddr(a)})
		must.Do(w, err)
	}
	told := func(want string) {
		t.Helper()
		var got []wording.Event
		w.eventually(want, func() bool {
			must.Do(w, w.n.look())
			got = append(got, h.events()...)
			return len(got) > 0 && w.left() == 0
		})
		if len(got) != 1 || got[0].Type != want {
			t.Errorf("got %+v, want %s", got, want)
		}
	}
	x := &counted{Index: w.store.Notices().Index}
	w.store.Notices().Index, w.store.Notices().Sightings.Index = x, x
	idle := func() {
		t.Helper()
		w.settled()
		x.views = 0
		for range 1000 {
			must.Do(w, w.n.look())
		}
		if x.views > 0 {
			t.Errorf("the index was read %d times in 1000 looks", x.views)
		}
	}
	idle()
	use("192.0.2.1")
	idle()
	use("203.0.113.7")
	told(wording.TokenNetwork)
	idle()
	w.pass(day)
	told(wording.TokenEnds)
	idle()
}

// TestDeadTarget: a target that is down keeps nothing from another one, however many notices
// wait for it. It gets all of them once it is up again, also after a restart. What is in
// memory is bounded.
func TestDeadTarget(t *testing.T) {
	const most, tokens = 50, 700
	h, mail := newHook(t), smtptest.New(t, smtptest.Options{})
	w := newWorld(t, config.Notify{Webhook: h.URL, SMTP: "smtp://" + mail.Address, From: "g@example.com", BeforeExpiry: steps(day)})
	w.bound(most)
	h.answer(http.StatusServiceUnavailable)
	ada := w.user("ada@example.com")
	for range tokens {
		w.token(ada.ID, 2*day)
	}
	w.pass(day)
	bounded := func() {
		t.Helper()
		for _, q := range w.n.queues {
			if n := q.len(); n > most {
				t.Fatalf("%d notices for %s are in memory", n, q.target.Name())
			}
		}
	}
	w.eventually("mail has told all", func() bool {
		must.Do(w, w.n.look())
		bounded()
		return len(mail.Mails()) == tokens
	})
	if f := w.n.Figures()["webhook"]; f != (Figures{tokens, true}) {
		t.Errorf("got %+v, want %d that wait", f, tokens)
	}
	w.close()
	w.open()
	h.answer(http.StatusOK)
	w.eventually("the webhook has told all", func() bool {
		must.Do(w, w.n.look())
		bounded()
		return w.left() == 0
	})
	once := map[string]int{}
	for _, e := range h.events() {
		once[e.Token]++
	}
	if len(once) != tokens || len(mail.Mails()) != tokens {
		t.Errorf("%d are told by webhook, and %d by mail; want %d", len(once), len(mail.Mails()), tokens)
	}
	for id, n := range once {
		if n != 1 {
			t.Errorf("%s is told %d times", id, n)
		}
	}
}

// TestGiveUpTogether: after a day the notices of a target that is down are given up at once,
// and not one after each pause.
func TestGiveUpTogether(t *testing.T) {
	const tokens = 60
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL, BeforeExpiry: steps(day)})
	w.bound(20)
	h.answer(http.StatusServiceUnavailable)
	ada := w.user("ada@example.com")
	for range tokens {
		w.token(ada.ID, 2*day)
	}
	w.pass(day)
	must.Do(w, w.n.look())
	q := w.n.queues[0]
	w.eventually("the webhook fails", func() bool { return w.n.Figures()["webhook"].Failing })
	q.mu.Lock()
	q.failures = surelyDown
	q.mu.Unlock()
	must.Do(w, w.n.look())
	if n := w.n.Count.Outcomes()[Outcome{"webhook", GivenUp}]; n != 0 {
		t.Fatalf("%d are given up", n)
	}
	w.pass(tryFor)
	q.nudge()
	w.eventually("all are given up", func() bool {
		must.Do(w, w.n.look())
		return w.left() == 0
	})
	if n := w.n.Count.Outcomes()[Outcome{"webhook", GivenUp}]; n != 20 { // there was no room for the others
		t.Errorf("%d are given up, want 20", n)
	}
}

// TestManyFound: a scan revokes at once, however many notices wait, and each owner is told.
func TestManyFound(t *testing.T) {
	const most, tokens = 20, 150
	h := newHook(t)
	w := newWorld(t, config.Notify{Webhook: h.URL})
	w.bound(most)
	h.answer(http.StatusServiceUnavailable)
	ada := w.user("ada@example.com")
	found := map[storage.ID]storage.Found{}
	for range tokens {
		v := w.token(ada.ID, 0)
		n, err := w.n.Found(v.ID, "build.log:1")
		must.Do(w, err)
		found[v.ID] = storage.Found{Place: "build.log:1", Notice: n}
	}
	w.settled()
	n, posted, err := w.store.RevokeFound(storage.Actor{Name: "test"}, found)
	must.Do(w, err)
	w.n.Tell(posted)
	if q := w.n.queues[0]; n != tokens || q.len() > most || w.left() != tokens {
		t.Errorf("%d are revoked, %d notices wait, %d of them in memory; want %d, %d, and at most %d", n, w.left(), q.len(), tokens, tokens, most)
	}
	h.answer(http.StatusOK)
	w.close()
	w.open() // at once, not after the pause
	w.eventually("all are told", func() bool {
		must.Do(w, w.n.look())
		return w.left() == 0
	})
	once := map[string]bool{}
	for _, e := range h.events() {
		once[e.Token] = true
	}
	if len(once) != tokens {
		t.Errorf("%d are told, want %d", len(once), tokens)
	}
}
