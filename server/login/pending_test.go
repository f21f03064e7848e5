package login

import (
	"strconv"
	"testing"
	"time"

	"gatehouse/server/oauth"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// TestPendingMemory: logins that do not come back take only a place in a block, and
// blocks are forgotten when their logins are over.
func TestPendingMemory(t *testing.T) {
	clock := storagetest.NewClock(time.Unix(1_000_000, 0))
	p, err := newPending(clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	begin := func() (cookie string) {
		t.Helper()
		if cookie, err = p.begin(pendingLogin{Login: oauth.Login{State: "s"}, Provider: "p"}); err != nil {
			t.Fatal(err)
		}
		return cookie
	}
	first := begin()
	for range 3 * blockLogins {
		begin()
	}
	for _, cookie := range []string{first, begin()} {
		must.Get(p.finish(cookie, "p", "s"))(t)
	}
	if len(p.blocks) != 4 {
		t.Errorf("got %d blocks, want 4", len(p.blocks))
	}
	for _, b := range p.blocks[1 : len(p.blocks)-1] {
		if b.back != nil {
			t.Error("memory was taken by logins that did not come back")
		}
	}
	clock.Move(PendingLife)
	begin()
	if len(p.blocks) != 1 {
		t.Errorf("later: got %d blocks, want 1", len(p.blocks))
	}
}

// TestPendingOnce has many logins come back several times, while blocks are begun and
// forgotten. Each counts once, and only in its time.
func TestPendingOnce(t *testing.T) {
	clock := storagetest.NewClock(time.Unix(1_000_000, 0))
	p, err := newPending(clock.Now)
	if err != nil {
		t.Fatal(err)
	}
	cookies := map[int]string{}
	for i := range 3*blockLogins + 5 {
		state := strconv.Itoa(i)
		if cookies[i], err = p.begin(pendingLogin{Login: oauth.Login{State: state}, Provider: "p"}); err != nil {
			t.Fatal(err)
		}
		clock.Move(time.Millisecond)
	}
	finish := func(i int, provider, state string) error {
		_, err := p.finish(cookies[i], provider, state)
		return err
	}
	for i := 0; i < 3*blockLogins+5; i += 511 {
		state := strconv.Itoa(i)
		if err := finish(i, "p", "other"); err != errOtherPending {
			t.Errorf("%d with another state: got %v", i, err)
		}
		if err := finish(i, "p", state); err != nil {
			t.Errorf("%d: got %v", i, err)
		}
		if err := finish(i, "p", state); err != errNoPending {
			t.Errorf("%d again: got %v", i, err)
		}
	}
	if err := finish(1, "q", "1"); err != errOtherPending {
		t.Errorf("another provider: got %v", err)
	}
	if err := finish(1, "p", "1"); err != errNoPending {
		t.Errorf("after another provider: got %v", err)
	}
	flipped := []byte(cookies[2])
	flipped[40] ^= 1
	for _, forged := range []string{"", "x", string(flipped), cookies[2][:60], cookies[2] + "AAAA"} {
		if _, err := p.finish(forged, "p", "2"); err != errNoPending {
			t.Errorf("forged %.20q: got %v", forged, err)
		}
	}
	clock.Move(PendingLife - time.Millisecond)
	last := 3*blockLogins + 4
	if err := finish(last-1, "p", strconv.Itoa(last-1)); err != errNoPending {
		t.Errorf("too late: got %v", err)
	}
	if err := finish(last, "p", strconv.Itoa(last)); err != errNoPending {
		t.Errorf("at the end: got %v", err)
	}
	again := must.Get(newPending(clock.Now))(t)
	if _, err := again.finish(cookies[3], "p", "3"); err != errNoPending {
		t.Errorf("after a restart: got %v", err)
	}
}
