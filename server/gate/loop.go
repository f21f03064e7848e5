package gate

import (
	"context"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// loop serves many connections with one goroutine, which waits for all of them in epoll(7):
//
//	epoll -> for each connection that has something: receive -> step -> send
//
// With a goroutine for each connection, a question that comes through a proxy costs a third
// more: the scheduler parks and wakes that goroutine, and Go's poller has it try a read that
// finds nothing.
//
// A call that waits would hold up all connections of the loop. Those on sockets never wait
// (package nowait). A handler calls the function of [BeforeWait] before it may: then a new
// goroutine takes over the loop, and the one of the handler serves that connection alone, until the
// answer is written.
type loop struct {
	s     *Server
	epoll int

	mu      sync.Mutex
	members map[int32]*member // by file, except those that a goroutine serves alone

	// Only the goroutine that runs the loop uses these.
	events [64]unix.EpollEvent
	ready  []*member // had something
	served int       // of them
	full   int       // so often in a row there were as many events as there is room for
	now    time.Time // when epoll returned last
	swept  time.Time // when the limits were looked at last
}

// sweepEvery is by how much the limits of a client may be exceeded.
const sweepEvery = time.Second

// newLoops starts the loops. While a goroutine waits in epoll, the scheduler leaves it its
// processor (GOMAXPROCS) for a while if another one is idle; to take it away, and to find
// one again, costs more than a question. So there must be two at least, and half of them
// have loops. That is enough: a proxy works longer on a question than the gate.
func (s *Server) newLoops() (list []*loop, err error) {
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
	for range runtime.GOMAXPROCS(0) / 2 {
		l := &loop{s: s, members: map[int32]*member{}, now: time.Now()}
		if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
			break
		}
		list = append(list, l)
	}
	if len(list) == 0 {
		return nil, err
	}
	for _, l := range list { // fewer will do, if there were no more files
		go l.run()
	}
	return list, nil
}

// run serves until the server has stopped and its connections have ended, or until another
// goroutine has taken over.
func (l *loop) run() {
	for {
		for l.served < len(l.ready) {
			m := l.ready[l.served]
			l.served++
			if m.turn(); m.alone {
				m.rejoin()
				return
			}
		}
		if l.s.stopped() {
			unix.Close(l.epoll)
			return
		}
		l.poll()
	}
}

// poll waits until connections have something, or the limits are to be looked at again.
func (l *loop) poll() {
	timeout := 0
	if l.caughtUp() {
		l.sweep()
		timeout = 1 + int((sweepEvery - l.now.Sub(l.swept)).Milliseconds())
	}
	n, err := unix.EpollWait(l.epoll, l.events[:], timeout)
	if err != nil { // a signal came between
		n, _ = unix.EpollWait(l.epoll, l.events[:], 0)
		n = max(n, 0)
	}
	l.now, l.ready, l.served = time.Now(), l.ready[:0], 0
	if l.full++; n < len(l.events) {
		l.full = 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events[:n] {
		if m := l.members[e.Fd]; m != nil {
			l.ready = append(l.ready, m)
		}
	}
}

// caughtUp reports whether all connections that had something have had their turn. Epoll takes
// them in turn.
func (l *loop) caughtUp() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.full == 0 || l.full*len(l.events) > len(l.members)
}

// sweep closes the connections whose limit is over. It comes after the turns of those that have
// something: the whole process may have been stopped for longer than a limit.
func (l *loop) sweep() {
	if l.now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = l.now
	var over []*member
	l.mu.Lock()
	for _, m := range l.members {
		if l.now.After(m.until) {
			over = append(over, m)
		}
	}
	l.mu.Unlock()
	for _, m := range over {
		m.Close()
	}
}

// add lets the loop serve a connection, unless that is closed.
func (l *loop) add(m *member) {
	err := m.socket.do(func(fd int) error {
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, m.event(fd)); err != nil {
			return err
		}
		l.mu.Lock()
		l.members[int32(fd)] = m // an event that came before this comes again
		l.mu.Unlock()
		return nil
	})
	if err != nil {
		m.Close()
	}
}

// remove takes a connection out of the loop, if it is there. The caller holds the lock of its
// socket. To close the file would not be enough: a program that is just being started has a
// copy of it.
func (l *loop) remove(m *member, fd int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.members[int32(fd)] == m {
		delete(l.members, int32(fd))
		unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, fd, nil)
	}
}

// member is a connection of a loop.
type member struct {
	*conn
	loop      *loop
	socket    *Socket
	interest  uint32    // in events
	until     time.Time // when the limit in force is over
	blocked   bool      // waits for room to write
	next      then      // when all is written
	lingering bool      // only reads what the client still sends
	lingered  int       // bytes of that
	alone     bool      // not in the loop: its goroutine does not run that
	serving   bool      // has its turn; the lock of the socket guards it
}

// start serves a new connection.
func (l *loop) start(c *conn, s *Socket) {
	m := &member{conn: c, loop: l, socket: s, interest: unix.EPOLLIN, alone: true}
	if err := s.do(func(int) error { s.member = m; return nil }); err != nil { // closed already
		c.s.forget(c)
		return
	}
	c.waits = m.handOver
	c.request = c.request.WithContext(context.WithValue(c.request.Context(), waitKey{}, c.waits))
	m.expect()
	m.rejoin()
}

type waitKey struct{}

// BeforeWait returns a function that the handler of a question must call before it waits for
// anything but a lock that is held for a moment. ctx is the request's context.
func BeforeWait(ctx context.Context) func() {
	if wait, ok := ctx.Value(waitKey{}).(func()); ok {
		return wait
	}
	return func() {}
}

// handOver hands the loop over to a new goroutine.
func (m *member) handOver() {
	if m.alone {
		return
	}
	m.alone = true
	m.socket.do(func(fd int) error { m.loop.remove(m, fd); return nil })
	go m.loop.run()
}

// rejoin gives the connection to the loop.
func (m *member) rejoin() {
	m.alone = false
	m.loop.add(m)
}

// serves notes whether the connection has its turn, and returns whether it is open.
func (m *member) serves(now bool) (open bool) {
	m.socket.mu.Lock()
	defer m.socket.mu.Unlock()
	m.serving = now
	return m.socket.fd >= 0
}

// closing is called before the file is closed, with the lock of the socket held. Shutdown waits
// until the connection has had its turn.
func (m *member) closing(fd int) {
	m.loop.remove(m, fd)
	if !m.serving {
		m.s.forget(m.conn)
	}
}

// turn does what can be done without waiting.
func (m *member) turn() {
	if !m.serves(true) {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			m.report(p)
			m.Close()
		}
		if !m.serves(false) {
			m.s.forget(m.conn)
		}
	}()
	switch {
	case m.lingering:
		m.drain()
	case m.blocked:
		m.goOn(m.next)
	case m.receive():
		m.goOn(m.step())
	}
}

// receive reports whether there is something new.
func (m *member) receive() bool {
	n, err := m.socket.receive(m.room())
	if err != nil {
		if err != unix.EAGAIN {
			m.Close()
		}
		return false
	}
	m.got(n)
	m.ended = n == 0
	return true
}

// goOn does what comes after a step.
func (m *member) goOn(next then) {
	for {
		if next == thenAbort {
			m.Close()
			return
		}
		if !m.send(next) {
			return
		}
		switch next {
		case thenRead:
			m.expect()
			return
		case thenStep:
			next = m.step()
		case thenLinger:
			m.linger()
			return
		default:
			m.Close()
			return
		}
	}
}

// send writes the answers, and reports whether all are written. If not, the connection has
// ended, or goes on when there is room.
func (m *member) send(next then) bool {
	for len(m.out) > 0 {
		n, err := m.socket.send(m.out)
		if err != nil {
			if err != unix.EAGAIN {
				m.Close()
			} else if m.next = next; !m.blocked {
				m.blocked = true
				m.await(unix.EPOLLOUT, m.s.Limits.Write)
			}
			return false
		}
		m.out = m.out[:copy(m.out, m.out[n:])]
	}
	m.blocked = false
	return true
}

// expect waits for something to read.
func (m *member) expect() {
	within, ok := m.reads()
	if !ok {
		m.Close()
		return
	}
	m.await(unix.EPOLLIN, within)
}

// await waits for an event. If within is 0, the limit in force stays.
func (m *member) await(event uint32, within time.Duration) {
	switch {
	case within == 0:
	case m.alone:
		m.until = time.Now().Add(within)
	default:
		m.until = m.loop.now.Add(within)
	}
	if m.interest == event {
		return
	}
	m.interest = event
	if !m.alone {
		m.socket.do(func(fd int) error { return unix.EpollCtl(m.loop.epoll, unix.EPOLL_CTL_MOD, fd, m.event(fd)) })
	}
}

func (m *member) event(fd int) *unix.EpollEvent {
	return &unix.EpollEvent{Events: m.interest, Fd: int32(fd)}
}

// linger gives the client time to read an answer.
func (m *member) linger() {
	if m.socket.CloseWrite() != nil {
		m.Close()
		return
	}
	m.lingering = true
	m.await(unix.EPOLLIN, lingers)
}

func (m *member) drain() {
	n, err := m.socket.receive(m.buffer[:firstBuffer])
	m.lingered += n
	if err != unix.EAGAIN && (n == 0 || m.lingered > longestSkip) {
		m.Close()
	}
}
