package config

import (
	"path/filepath"
	"strings"
)

// Gate says where reverse proxies ask about requests, in addition to the main port.
type Gate struct {
	Listen      string `toml:"listen"`       // host:port, or unix: and a path; empty: on the main port alone
	SocketGroup string `toml:"socket_group"` // who may connect to the unix socket, besides the server's own account and root
}

// Socket returns the path of the unix socket that Listen names.
func (c Gate) Socket() (path string, ok bool) { return strings.CutPrefix(c.Listen, "unix:") }

// Group returns the number of the group that SocketGroup names, or -1 if it names none.
func (c Gate) Group() (gid int, err error) {
	if c.SocketGroup == "" {
		return -1, nil
	}
	id, err := groupID(c.SocketGroup)
	if err != nil {
		return -1, err
	}
	return int(id), nil
}

func (c Gate) check(f *faults) {
	path, unix := c.Socket()
	switch {
	case c.Listen == "":
	case unix && (!filepath.IsAbs(path) || filepath.Clean(path) != path):
		f.add("gate.listen", "%q is not a socket such as unix:/run/gatehouse/gate.sock", c.Listen)
	case !unix:
		if err := CheckListen(c.Listen); err != nil {
			f.add("gate.listen", "%w", err)
		}
	}
	if c.SocketGroup != "" && !unix {
		f.add("gate.socket_group", "needs a unix socket: write gate.listen = \"unix:/run/gatehouse/gate.sock\"")
	}
}
