package gate

import (
	"bytes"
	"net/http"
	"strconv"
)

// head is what the gate reads of a request.
type head struct {
	method, target, path, query string

	old     bool  // HTTP/1.0
	length  int64 // of the body; -1: it comes in chunks
	hosts   int
	lengths int
	chunked int
	expects bool // to be told to send the body
	closing bool // the client wants no answer after this one

	connections int // fields of this name

	tokens, authorization, agents, forwards, ids []string // the values of the fields that the handler sees
}

// maxHead bounds a request without its body. Proxies pass on what they take: nginx
// 32 KiB.
const maxHead = 64 << 10

// headEnd returns where the head of the request at the beginning of b ends, or 0 if more of
// it is to come. from is where an earlier call stopped looking. A line that ends in a
// wrong way may also end the head: parse then refuses it at once.
func headEnd(b []byte, from int) (end, next int) {
	for {
		n := bytes.IndexByte(b[from:], '\n')
		if n < 0 {
			return 0, from
		}
		if line := b[from : from+n]; len(line) == 0 || len(line) == 1 && line[0] == '\r' {
			return from + n + 1, 0
		}
		from += n + 1
	}
}

const longestMethod = 32 // of a question

// mayBeQuestion reports whether b may be the beginning of a question.
func mayBeQuestion(b []byte) bool {
	method, target, ok := bytes.Cut(b, []byte{' '})
	n := min(len(target), len(Path))
	return len(method) <= longestMethod && all(method, &inToken) && (!ok || string(target[:n]) == Path[:n])
}

// isQuestion reports whether a request is a question, and net/http would do nothing more
// for it than the gate does. After a POST, net/http accepts an empty line.
func (h *head) isQuestion() bool {
	return h.path == Path && h.length == 0 && !h.expects && !h.old && h.method != http.MethodPost
}

// parse reads a head, and reports whether it can be read in one way only. It refuses much
// that HTTP allows a server to accept: no proxy sends that.
func (h *head) parse(b []byte) bool {
	*h = head{tokens: h.tokens[:0], authorization: h.authorization[:0], agents: h.agents[:0], forwards: h.forwards[:0], ids: h.ids[:0]}
	line, b, ok := cutLine(b)
	if !ok || !h.parseFirst(line) {
		return false
	}
	for {
		if line, b, ok = cutLine(b); !ok {
			return false
		}
		if len(line) == 0 {
			return len(b) == 0 && h.sound()
		}
		colon := bytes.IndexByte(line, ':')
		if colon <= 0 || !all(line[:colon], &inToken) {
			return false // also a line that begins with a blank, and so continues the one before
		}
		value := trim(line[colon+1:])
		if !all(value, &inValue) || !h.field(line[:colon], value) {
			return false
		}
	}
}

// cutLine cuts off a line, which must end with CRLF.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	n := bytes.IndexByte(b, '\n')
	if n < 1 || b[n-1] != '\r' {
		return nil, nil, false
	}
	return b[:n-1], b[n+1:], true
}

// parseFirst reads the request line. Only a path is taken, and only one that has
// no other spelling.
func (h *head) parseFirst(line []byte) bool {
	first, last := bytes.IndexByte(line, ' '), bytes.LastIndexByte(line, ' ')
	if first < 1 || last <= first+1 || !all(line[:first], &inToken) {
		return false
	}
	switch string(line[last+1:]) {
	case "HTTP/1.1":
	case "HTTP/1.0":
		h.old, h.closing = true, true
	default:
		return false
	}
	target := line[first+1 : last]
	path, query, _ := bytes.Cut(target, []byte{'?'})
	if target[0] != '/' || !all(path, &inPath) || !all(query, &inQuery) {
		return false
	}
	h.method, h.target = known(line[:first]), known(target)
	h.path, h.query = h.target[:len(path)], ""
	if len(path) < len(target) {
		h.query = h.target[len(path)+1:]
	}
	return true
}

// known returns b as a string. It allocates only if b is not one of the strings that
// proxies send all the time.
func known(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case Path:
		return Path
	}
	return string(b)
}

// field reads a field of the header, and reports whether it is sound.
func (h *head) field(name, value []byte) bool {
	switch len(name) {
	case len("Host"):
		if is(name, "host") {
			h.hosts++
			return all(value, &inHost)
		}
	case len("Expect"):
		if is(name, "expect") {
			h.expects = true
			return is(value, "100-continue")
		}
	case len("User-Agent"): // and Connection
		if is(name, "user-agent") {
			h.agents = append(h.agents, string(value))
		}
		if is(name, "connection") {
			h.connection(value)
		}
	case len("X-Auth-Token"): // and X-Request-Id
		if is(name, "x-auth-token") {
			h.tokens = append(h.tokens, string(value))
		}
		if is(name, "x-request-id") {
			h.ids = append(h.ids, string(value))
		}
	case len("Authorization"):
		if is(name, "authorization") {
			h.authorization = append(h.authorization, string(value))
		}
	case len("Content-Length"):
		if is(name, "content-length") {
			h.lengths++
			return h.contentLength(value)
		}
	case len("X-Forwarded-For"):
		if is(name, "x-forwarded-for") {
			h.forwards = append(h.forwards, string(value))
		}
	case len("Transfer-Encoding"):
		if is(name, "transfer-encoding") {
			h.chunked++
			return is(value, "chunked")
		}
	}
	return true
}

func (h *head) contentLength(value []byte) bool {
	if len(value) > 18 || !all(value, &inNumber) {
		return false
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	h.length = n
	return err == nil
}

// connection looks for close. As net/http does, it takes a blank for a comma, but only in the
// first field of this name.
func (h *head) connection(value []byte) {
	separators := ", \t"
	if h.connections++; h.connections > 1 {
		separators = ","
	}
	for len(value) > 0 {
		n := bytes.IndexAny(value, separators)
		if n < 0 {
			n = len(value)
		}
		h.closing = h.closing || is(trim(value[:n]), "close")
		value = value[min(n+1, len(value)):]
	}
}

// sound reports whether the fields fit together.
func (h *head) sound() bool {
	if h.hosts > 1 || h.hosts == 0 && !h.old || h.lengths > 1 || h.chunked > 1 {
		return false
	}
	if h.chunked > 0 {
		if h.lengths > 0 || h.old {
			return false // where the body ends can be read in two ways
		}
		h.length = -1
	}
	return true
}

// into copies what was read into a request. The next request on the connection uses r and
// its header again, but not the strings.
func (h *head) into(r *http.Request) {
	r.Method, r.RequestURI, r.URL.Path, r.URL.RawQuery = h.method, h.target, h.path, h.query
	r.ContentLength, r.Close = h.length, h.closing
	r.ProtoMinor = 1
	if h.old {
		r.ProtoMinor = 0
	}
	r.Pattern = ""
	clear(r.Header)
	for _, f := range [...]struct {
		name   string
		values []string
	}{{"X-Auth-Token", h.tokens}, {"Authorization", h.authorization}, {"User-Agent", h.agents}, {"X-Forwarded-For", h.forwards}, {"X-Request-Id", h.ids}} {
		if len(f.values) > 0 {
			r.Header[f.name] = f.values
		}
	}
}

// is compares without regard to ASCII case. want is in lower case.
func is(got []byte, want string) bool {
	if len(got) != len(want) {
		return false
	}
	for i, c := range got {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != want[i] {
			return false
		}
	}
	return true
}

// trim takes away blanks and tabs at both ends.
func trim(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// set is a set of bytes.
type set [256]bool

func all(b []byte, in *set) bool {
	for _, c := range b {
		if !in[c] {
			return false
		}
	}
	return true
}

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

var (
	inNumber = of("0123456789")
	inToken  = of(alphanumeric + "!#$%&'*+-.^_`|~") // RFC 9110, section 5.6.2
	inPath   = of(alphanumeric + "/-._~")
	inHost   = of(alphanumeric + "-._~:[]")
	inQuery  = between('!', '~')
	inValue  = func() set { // RFC 9110, section 5.5
		s := between(' ', 255)
		s['\t'], s[0x7f] = true, false
		return s
	}()
)

func of(bytes string) (s set) {
	for _, c := range []byte(bytes) {
		s[c] = true
	}
	return s
}

func between(first, last int) (s set) {
	for c := first; c <= last; c++ {
		s[c] = true
	}
	return s
}
