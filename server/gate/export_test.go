package gate

import "net"

// ServeConn serves a connection, and returns when that has ended or was passed.
func (s *Server) ServeConn(c net.Conn) { s.newConn(c).serve() }

// Kept returns how many bytes the connections keep that wait for a request.
func (s *Server) Kept() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		if c.state.Load() == waiting {
			n += cap(c.buffer) + cap(c.out)
			for _, list := range [][]string{c.head.tokens, c.head.authorization, c.head.agents, c.head.forwards, c.head.ids} {
				for _, text := range list[:cap(list)] {
					n += len(text)
				}
			}
		}
	}
	return n
}

// Number returns the number of the file.
func (s *Socket) Number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fd
}
