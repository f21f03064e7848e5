package gate

import "net"

// ServeConn serves a connection, and returns when that has ended or was passed.
func (s *Server) ServeConn(c net.Conn) { s.newConn(c).serve() }
