package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse/server/api"
	"gatehouse/storage/storagetest/must"
)

// world is an administration handler with a few fixed users and tokens. The scripts of
// the whole binary try the commands against the real store; here the tests are about
// arguments, output and statuses.
type world struct {
	tokens  []api.Token
	users   map[string]*api.User
	got     []string // the changing requests, with their bodies
	kept    int      // of what a bulk revocation matches, how many no longer match at their turn
	changes int      // revocations that are refused, because other tokens match by then
	breaks  bool     // a bulk revocation ends without saying so
	runs    bool     // as a server, not as the store alone
	role    api.Role // of the caller; empty: admin
	held    api.HeldSweep
}

func newWorld() *world {
	w := &world{users: map[string]*api.User{
		"alice@example.com": {UID: "alice@example.com", Name: "Al\u202eice \x1b[31m", Source: "local", State: api.StateActive, Created: 1700000000000, Tokens: 2, LastUsed: 1700000500000},
	}}
	for i, uid := range []string{"alice@example.com", "alice@example.com", "bob@example.com"} {
		w.tokens = append(w.tokens, api.Token{
			ID: fmt.Sprintf("01%026x", i), UID: uid, Name: "ci", Created: 1700000000000, LastUsed: 1700000000000 + int64(i)*250000,
			LastAddress: "10.0.0.1", ExpiresOn: api.Never, State: api.StateLive, Scopes: []string{"files"},
		})
	}
	w.tokens[2].State = api.StateRevoked
	return w
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Method != http.MethodGet {
		w.got = append(w.got, r.Method+" "+r.URL.Path+" "+string(body))
	}
	enc := json.NewEncoder(rw)
	rest, isUser := strings.CutPrefix(r.URL.Path, "/admin/users/")
	switch uid, _, _ := strings.Cut(rest, "/"); {
	case r.URL.Path == "/admin/who":
		enc.Encode(api.Who{Actor: "tester", Role: cmp.Or(w.role, api.Admin)})
	case r.URL.Path == "/admin/offboard":
		enc.Encode(w.held)
	case r.URL.Path == "/admin/users" && r.Method == http.MethodGet:
		for _, u := range w.users {
			enc.Encode(map[string]any{"row": u})
		}
	case r.URL.Path == "/admin/users":
		var n api.NewUser
		json.Unmarshal(body, &n)
		if n.Password == "" {
			n.Password = "made-by-the-server"
		}
		enc.Encode(api.Password{Password: n.Password})
	case isUser && w.users[uid] == nil:
		rw.WriteHeader(http.StatusNotFound)
		enc.Encode(api.Error{Message: "No such user"})
	case isUser && r.Method == http.MethodGet:
		enc.Encode(w.users[uid])
	case isUser && strings.HasSuffix(rest, "/password"):
		enc.Encode(api.Password{Password: "made-by-the-server"})
	case isUser && strings.HasSuffix(rest, "/disable"):
		rw.WriteHeader(http.StatusForbidden)
	case r.URL.Query().Has("user") && w.users[r.URL.Query().Get("user")] == nil:
		rw.WriteHeader(http.StatusNotFound)
		enc.Encode(api.Error{Message: "No such user"})
	case r.URL.Path == "/admin/tokens" && r.Method == http.MethodGet:
		for _, t := range w.matching(r) {
			enc.Encode(map[string]any{"row": t})
		}
	case r.URL.Path == "/admin/tokens/matching":
		enc.Encode(api.Matching{Rows: len(w.matching(r)), Set: "these", At: 1})
	case r.URL.Path == "/admin/revocations" && w.changes > 0:
		w.changes--
		rw.WriteHeader(http.StatusConflict)
		enc.Encode(api.Error{Message: "Nothing was revoked: the tokens that match have changed"})
	case r.URL.Path == "/admin/revocations":
		n := len(w.matching(r))
		for _, p := range []api.Progress{{Job: "J", Total: n}, {Job: "J", Total: n, Revoked: n - w.kept, Done: !w.breaks}} {
			enc.Encode(map[string]any{"row": p})
		}
	case r.URL.Path == "/admin/tokens":
		enc.Encode(api.NewToken{Secret: strings.Repeat("ab", 128), ID: w.tokens[0].ID, UID: "alice@example.com", ExpiresOn: api.Never})
	case r.URL.Path == "/admin/tokens/revoke":
		var q api.Revocation
		json.Unmarshal(body, &q)
		enc.Encode(api.Revoked{Revoked: len(q.IDs)})
	case strings.HasPrefix(r.URL.Path, "/admin/tokens/"):
		for _, t := range w.tokens {
			if strings.HasPrefix(t.ID, path.Base(r.URL.Path)) {
				enc.Encode(api.TokenDetail{Token: t})
				return
			}
		}
		rw.WriteHeader(http.StatusNotFound)
		enc.Encode(api.Error{Message: "No such token"})
	}
}

func (w *world) matching(r *http.Request) (list []api.Token) {
	for _, t := range w.tokens {
		q := r.URL.Query()
		if u := q.Get("user"); (u == "" || u == t.UID) && (q.Has("revoked") || t.State != api.StateRevoked) {
			list = append(list, t)
		}
	}
	return list
}

// result is what a run left behind.
type result struct {
	out, err string
	status   int
}

// run runs a command line. Typed passwords and answers make it a terminal.
func run(w *world, stdin string, typed []string, args ...string) result {
	var out, errs bytes.Buffer
	env := Env{
		Open: func(context.Context) (*api.Client, error) {
			if w.runs {
				return api.InProcess(w, nil), nil
			}
			return api.InProcess(w, func() error { return nil }), nil
		},
		In: strings.NewReader(stdin), Out: &out, Err: &errs,
		Now: func() time.Time { return time.UnixMilli(1700000600000) },
	}
	if typed != nil {
		env.Password = func(context.Context, string) (string, error) {
			if len(typed) == 0 {
				return "", io.EOF
			}
			p := typed[0]
			typed = typed[1:]
			return p, nil
		}
	}
	root := &cobra.Command{Use: "gatehouse", SilenceErrors: true, SilenceUsage: true}
	root.AddCommand(Commands(env)...)
	root.SetArgs(args)
	root.SetOut(&errs)
	root.SetErr(&errs)
	status := Report(&errs, root.Execute())
	return result{out.String(), errs.String(), status}
}

// TestStatuses: on a terminal, and what the story of the statuses leaves out.
func TestStatuses(t *testing.T) {
	terminal := []string{}
	for _, c := range []struct {
		line  string
		stdin string
		typed []string
		want  int
	}{
		{line: "user list --nonsense", want: 2},
		{line: "user", want: 2},
		{line: "user nonsense", want: 2},
		{line: "user disable alice@example.com", want: 4},
		{line: "user add bob@example.com --password-stdin", stdin: strings.Repeat("x", 257), want: 1},
		{line: "user add bob@example.com --password-stdin", stdin: strings.Repeat("x", 256) + "\n", want: 0},
		{line: "user add bob@example.com --password-stdin", stdin: "not\xffutf8\n", want: 1},
		{line: "user add bob@example.com", typed: []string{"one", "other"}, want: 1},
		{line: "user remove alice@example.com", stdin: "y\n", want: 2},
		{line: "user remove alice@example.com --yes", typed: terminal, want: 0},
		{line: "user remove alice@example.com", typed: terminal, stdin: "", want: 1},
		{line: "user offboard --confirm", typed: terminal, want: 5}, // the store has no sweep
		{line: "user remove alice@example.com", typed: terminal, stdin: "n\n", want: 1},
		{line: "user remove alice@example.com", typed: terminal, stdin: "y\n", want: 0},
		{line: "token revoke 0100000000 --idle 90d", want: 2},
		{line: "token revoke --idle 90d", want: 2},
		{line: "token revoke --idle 90d", typed: terminal, stdin: "y\n", want: 0},
		{line: "token revoke --idle 90d", typed: terminal, stdin: "\n", want: 1},
		{line: "token revoke --never-used", typed: terminal, stdin: "", want: 1},
		{line: "token revoke 0100000000", want: 0},
		{line: "token revoke 0100", want: 2},
		{line: "token show 0100", want: 2},
		{line: "token list --limit 0", want: 2},
		{line: "events --last 0", want: 2},
		{line: "events --about 0100", want: 2},
		{line: "events --about alice@example.com --about bob@example.com", want: 2},
		{line: "events --about " + strings.Repeat("ab", 128), want: 2},
	} {
		got := run(newWorld(), c.stdin, c.typed, strings.Fields(c.line)...)
		if got.status != c.want {
			t.Errorf("%s: status %d, want %d\n%s", c.line, got.status, c.want, got.err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{&api.UnreachableError{Socket: "/x", Err: errors.New("refused")}, 5},
		{&api.UnreachableError{Socket: "/x", Err: os.ErrPermission}, 4},
		{fmt.Errorf("list users: %w", &api.Error{Status: 404, Message: "No such user"}), 3},
		{errors.New("disk"), 1},
		{nil, 0},
	} {
		if got := exitStatus(c.err); got != c.want {
			t.Errorf("exitStatus(%v) = %d, want %d", c.err, got, c.want)
		}
	}
}

func TestJSONHasTheDocumentedKeysAndNoControls(t *testing.T) {
	got := run(newWorld(), "", nil, "user", "list", "--json").out
	want := `{"uid":"alice@example.com","name":"Al\u202eice \u001b[31m","source":"local","state":"active","created":1700000000000,"tokens":2,"lastUsed":1700000500000}` + "\n"
	if got != want {
		t.Errorf("got %swant %s", got, want)
	}
	lines := strings.Split(run(newWorld(), "", nil, "token", "list", "--json").out, "\n")
	want = `{"id":"0100000000000000000000000000","uid":"alice@example.com","name":"ci","created":1700000000000,"createdBy":"","lastUsed":1700000000000,"lastAddress":"10.0.0.1","uses":0,"expiresOn":"292278994-08-17T07:12:55.807Z","scopes":["files"],"addresses":[],"state":"live"}`
	if lines[0] != want || len(lines) != 4 {
		t.Errorf("%d lines, the first\n%s\nwant\n%s", len(lines)-1, lines[0], want)
	}
}

func TestPlainListings(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	got := run(newWorld(), "", nil, "user", "show", "alice@example.com").out
	want := `uid        alice@example.com
name       Al\u202eice \x1b[31m
source     local
state      active
created    2023-11-14T22:13:20Z
tokens     2
last used  2023-11-14T22:21:40Z

ID                            USER               NAME  CREATED               LAST USED             FROM      EXPIRES  STATE
0100000000000000000000000000  alice@example.com  ci    2023-11-14T22:13:20Z  never                 10.0.0.1  never    live
0100000000000000000000000001  alice@example.com  ci    2023-11-14T22:13:20Z  2023-11-14T22:17:30Z  10.0.0.1  never    live
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestPasswords(t *testing.T) {
	for _, c := range []struct {
		stdin string
		typed []string
		args  string
		sent  string // the password in the request
		out   string
	}{
		{"", nil, "user add bob@example.com", "", "made-by-the-server\n"},
		{"s3cret word\r\nrest\n", nil, "user add bob@example.com --password-stdin", "s3cret word", ""},
		{"", []string{"s3cret", "s3cret"}, "user add bob@example.com", "s3cret", ""},
		{"", []string{""}, "user passwd alice@example.com", "", "made here"},
	} {
		w := newWorld()
		got := run(w, c.stdin, c.typed, strings.Fields(c.args)...)
		if c.out == "made here" { // and printed before it is set
			c.out, c.sent = got.out, strings.TrimSpace(got.out)
			if len(c.sent) < 20 {
				t.Errorf("%s: printed %q", c.args, got.out)
			}
		}
		if got.out != c.out || got.status != 0 {
			t.Errorf("%s: printed %q with status %d, want %q\n%s", c.args, got.out, got.status, c.out, got.err)
		}
		_, body, _ := strings.Cut(strings.Join(w.got, ""), "{")
		if sent := strings.Contains(body, `"password":"`+c.sent+`"`); len(w.got) != 1 || c.sent != "" && !sent || strings.Contains(got.err, "s3cret") {
			t.Errorf("%s: sent %q, said %q", c.args, w.got, got.err)
		}
	}
}

// TestNoPassword: an end of the input, or what no password is, changes nothing.
func TestNoPassword(t *testing.T) {
	for _, c := range []struct {
		typed []string
		want  string
	}{
		{[]string{}, "no password was typed, so nothing was changed"},
		{[]string{"s3cret"}, "no password was typed, so nothing was changed"},
		{[]string{"s3cret", "other"}, "the two passwords differ"},
		{[]string{"s3cret\x1b[D"}, "control character"},
		{[]string{strings.Repeat("a", maxPassword+1)}, "longer than 256 bytes"},
	} {
		for _, command := range []string{"user add bob@example.com", "user passwd alice@example.com"} {
			w := newWorld()
			got := run(w, "", c.typed, strings.Fields(command)...)
			if got.status != statusFailed || !strings.Contains(got.err, c.want) || got.out != "" || len(w.got) > 0 {
				t.Errorf("%s, %q: status %d, sent %q, printed %q\n%s", command, c.typed, got.status, w.got, got.out, got.err)
			}
		}
	}
	// A question that is not answered ends its line.
	if got := run(newWorld(), "", []string{}, "user", "remove", "alice@example.com"); got.status != statusFailed || !strings.Contains(got.err, "[y/N] \ngatehouse: nothing was changed") {
		t.Errorf("status %d: %q", got.status, got.err)
	}
}

// TestRefusedFirst: nobody is asked for anything, or told anything, that the role makes
// moot. Each command would otherwise ask, print or read before it calls the server.
func TestRefusedFirst(t *testing.T) {
	for line, least := range map[string]api.Role{
		"user add bob@example.com": api.Admin, "user add bob@example.com --password-stdin": api.Admin,
		"user passwd alice@example.com": api.Operator, "user passwd alice@example.com --password-stdin": api.Operator,
		"user remove alice@example.com --yes": api.Admin, "user offboard --confirm": api.Operator,
		"token create --user alice@example.com": api.Operator, "token revoke --user alice@example.com --yes": api.Operator,
		"service remove ci@service": api.Admin, "key rotate": api.Admin, "scan --revoke -": api.Operator,
	} {
		for _, role := range []api.Role{api.Auditor, api.Operator} {
			if role.Covers(least) {
				continue
			}
			for _, typed := range [][]string{nil, {"s3cret", "s3cret"}} {
				if typed == nil && !strings.Contains(line, "user add") && !strings.Contains(line, "passwd") {
					continue // needs --yes
				}
				w := newWorld()
				w.role, w.runs = role, true
				got := run(w, "y\n", typed, strings.Fields(line)...)
				want := "gatehouse: " + api.Who{Actor: "tester", Role: role}.Refusal(least) + "\n"
				if got.status != statusForbidden || got.out != "" || got.err != want || len(w.got) > 0 {
					t.Errorf("%s as %s: status %d, sent %q, printed %q\n%s", line, role, got.status, w.got, got.out, got.err)
				}
			}
		}
	}
}

// TestNoPasswordForOthers: users without a password here are refused before anybody types
// one, and so are users that are not there.
func TestNoPasswordForOthers(t *testing.T) {
	w := newWorld()
	w.users["alice@example.com"].Source = "ldap"
	for uid, want := range map[string]int{"alice@example.com": 1, "nobody@example.com": 0} {
		w.got = nil
		got := run(w, "", []string{}, "user", "passwd", uid) // asked, it would say that no password was typed
		if strings.Contains(got.err, "typed") || got.out != "" || len(w.got) != want {
			t.Errorf("%s: sent %q, printed %q\n%s", uid, w.got, got.out, got.err)
		}
	}
}

func TestRevokeByFilterLeavesTheDeadAndShowsTheRest(t *testing.T) {
	w := newWorld()
	got := run(w, "yes\n", []string{}, "token", "revoke", "--idle", "1d")
	if want := `POST /admin/revocations {"filters":{"idle":["1d"]},"set":"these","at":1}`; len(w.got) != 1 || w.got[0] != want {
		t.Errorf("sent %q, want %q", w.got, want)
	}
	for _, want := range []string{"0100000000000000000000000001", "IN USE: 1 token", "Revoke 2 tokens for good? [y/N]", "Revoked 2 tokens."} {
		if !strings.Contains(got.err, want) {
			t.Errorf("%q is missing from\n%s", want, got.err)
		}
	}
	if used, never := strings.Index(got.err, "0100000000000000000000000001"), strings.Index(got.err, "0100000000000000000000000000"); used > never {
		t.Errorf("the token in use is not the first:\n%s", got.err)
	}
	if got.out != "" {
		t.Errorf("on standard output: %q", got.out)
	}
	for _, line := range []string{"token revoke --idle 1d", "token revoke --idle 1d --dry-run"} {
		w := newWorld()
		if got := run(w, "n\n", []string{}, strings.Fields(line)...); len(w.got) != 0 {
			t.Errorf("%s: sent %q\n%s", line, w.got, got.err)
		}
	}
}

// TestRevokeAsksAgain: when other tokens match than were agreed to, the command shows those
// and asks again, as often as that is so.
func TestRevokeAsksAgain(t *testing.T) {
	for answers, want := range map[string]struct{ asked, sent, status int }{
		"y\ny\ny\n": {3, 3, 0}, "y\nn\n": {2, 1, 1}, "y\n": {2, 1, 1},
	} {
		w := newWorld()
		w.changes = 2
		got := run(w, answers, []string{}, "token", "revoke", "--idle", "1d")
		asked := strings.Count(got.err, "Revoke 2 tokens for good?")
		if asked != want.asked || len(w.got) != want.sent || got.status != want.status || strings.Contains(got.err, "Revoked") != (want.status == 0) {
			t.Errorf("%q: asked %d times, sent %q, status %d, want %v\n%s", answers, asked, w.got, got.status, want, got.err)
		}
	}
	w := newWorld()
	w.changes = 1
	if got := run(w, "", nil, "token", "revoke", "--idle", "1d", "--yes"); got.status != 1 || len(w.got) != 1 {
		t.Errorf("with --yes: status %d, sent %q", got.status, w.got)
	}
}

func TestRevokeByFilterTellsWhatItDid(t *testing.T) {
	for _, c := range []struct {
		kept   int
		breaks bool
		status int
		want   string
		out    string
	}{
		{0, false, 0, "Revoked 2 tokens.", `{"revoked":2,"total":2}`},
		{1, false, 0, "Revoked 1 token. Left 1 alone, because they no longer matched.", `{"revoked":1,"total":2}`},
		{1, true, 1, "after at least 1 token of 2: the server stopped", `{"revoked":1,"total":2}`},
	} {
		w := newWorld()
		w.kept, w.breaks = c.kept, c.breaks
		got := run(w, "", nil, "token", "revoke", "--idle", "1d", "--yes", "--json")
		if got.status != c.status || !strings.Contains(got.err, c.want) || got.out != c.out+"\n" {
			t.Errorf("status %d, want %d with %q and %s\n%s%s", got.status, c.status, c.want, c.out, got.err, got.out)
		}
		if want := `POST /admin/revocations {"filters":{"idle":["1d"]}}`; w.got[0] != want {
			t.Errorf("sent %q, want %q: with --yes it is any number", w.got, want)
		}
	}
}

func TestFollowingThatEndsIsAnError(t *testing.T) {
	w := newWorld()
	got := run(w, "", nil, "events", "--follow")
	if got.status != statusUnreachable || got.out != "" {
		t.Errorf("without a server: status %d, want %d\n%s", got.status, statusUnreachable, got.err)
	}
	w.runs = true
	got = run(w, "", nil, "events", "--follow")
	if got.status != statusFailed || !strings.Contains(got.err, "the server has stopped") {
		t.Errorf("status %d, want %d\n%s", got.status, statusFailed, got.err)
	}
}

// TestAnInterruptIsNoAnswer interrupts a question, and answers it then.
func TestAnInterruptIsNoAnswer(t *testing.T) {
	unanswered, _ := io.Pipe()
	for _, in := range []io.Reader{unanswered, strings.NewReader("y\n")} {
		ctx, interrupt := context.WithCancel(t.Context())
		interrupt()
		if err := (&consent{env: Env{In: in, Err: io.Discard}}).ask(ctx, "Revoke 2 tokens for good?"); !errors.Is(err, errInterrupted) {
			t.Errorf("got %v, want %v", err, errInterrupted)
		}
	}
}

// TestOnlyUTF8: a name of other bytes is refused. What only looks like a replaced byte is not.
func TestOnlyUTF8(t *testing.T) {
	for text, sent := range map[string]bool{"caf\xe9": false, "\xff": false, `\` + "\xff": false, "caf\ufffd": true, `\ufffd`: true, `\\ufffd`: true, "café": true} {
		for _, args := range [][]string{
			{"user", "add", "a" + text + "@example.com"}, {"token", "create", "--user", "alice@example.com", "--name", text},
			{"token", "rename", "01000000", text}, {"service", "add", "ci", "--owner", "alice@example.com", "--description", text},
		} {
			w := newWorld()
			got := run(w, "", nil, args...)
			if !sent && (got.status != statusUsage || len(w.got) > 0 || got.out != "" || !strings.Contains(got.err, "is not UTF-8")) || sent && len(w.got) != 1 {
				t.Errorf("%q: status %d, sent %q\n%s", args, got.status, w.got, got.err)
			}
		}
	}
}

func TestTokenCreatePrintsTheTokenAlone(t *testing.T) {
	w := newWorld()
	got := run(w, "", nil, "token", "create", "--user", "alice@example.com", "--scope", "files", "--scope", "a,b", "--expires", "90d")
	if want := strings.Repeat("ab", 128) + "\n"; got.out != want || strings.Contains(got.err, "abab") {
		t.Errorf("printed %q and %q", got.out, got.err)
	}
	if want := `POST /admin/tokens {"uid":"alice@example.com","expiresIn":"90d","scopes":["files","a,b"]}`; w.got[0] != want {
		t.Errorf("sent %s, want %s", w.got[0], want)
	}
}

func TestTerminalDoesNotEcho(t *testing.T) {
	terminal, in := must.Get2(pty.Open())(t)
	defer terminal.Close()
	defer in.Close()
	ask := Terminal(in, in)
	if ask == nil {
		t.Fatal("the pty is not taken for a terminal")
	}
	settings := func() *term.State {
		s := must.Get(term.GetState(int(in.Fd())))(t)
		return s
	}
	before := settings()
	asked := make(chan string)
	go func() {
		p, err := ask(context.Background(), "Password: ")
		asked <- fmt.Sprint(p, err)
	}()
	shown := make([]byte, 200)
	n, _ := terminal.Read(shown)
	for reflect.DeepEqual(settings(), before) { // the prompt comes before the echo goes off
		time.Sleep(time.Millisecond)
	}
	terminal.WriteString("s3cret\n")
	if got := <-asked; got != "s3cret<nil>" || !reflect.DeepEqual(settings(), before) {
		t.Errorf("read %q, and the terminal may not echo", got)
	}
	m, _ := terminal.Read(shown[n:])
	if strings.Contains(string(shown[:n+m]), "s3cret") {
		t.Errorf("the terminal shows %q", shown[:n+m])
	}
	terminal.WriteString("\x04")
	if p, err := ask(t.Context(), "Password: "); err != io.EOF || !reflect.DeepEqual(settings(), before) {
		t.Errorf("after control-D: %q, %v, and the terminal may not echo", p, err)
	}
	// A signal leaves the terminal as it was.
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP} {
		go func() {
			_, err := ask(context.Background(), "Password: ")
			asked <- fmt.Sprint(err)
		}()
		for reflect.DeepEqual(settings(), before) {
			time.Sleep(time.Millisecond)
		}
		syscall.Kill(os.Getpid(), s)
		if got := <-asked; got != "interrupted" || !reflect.DeepEqual(settings(), before) {
			t.Errorf("after %v: got %s, and the terminal may not echo", s, got)
		}
	}
	if f, _ := os.Open(os.DevNull); Terminal(f, in) != nil {
		t.Error("/dev/null is taken for a terminal")
	}
}

// TestDryRunOfIDs: --dry-run lists what the ids would revoke, and revokes nothing.
func TestDryRunOfIDs(t *testing.T) {
	w := newWorld()
	all := []string{w.tokens[0].ID, w.tokens[1].ID, w.tokens[0].ID, w.tokens[2].ID} // one twice, one revoked
	got := run(w, "", nil, append([]string{"token", "revoke", "--dry-run", "--json"}, all...)...)
	if lines := strings.Split(got.out, "\n"); got.status != 0 || len(lines) != 3 || !strings.Contains(lines[0], all[0]) || !strings.Contains(lines[1], all[1]) {
		t.Errorf("status %d\n%s%s", got.status, got.out, got.err)
	}
	got = run(w, "", nil, "token", "revoke", "--dry-run", all[0], "ffffffff")
	if got.status != statusUnknown || got.out != "" {
		t.Errorf("an unknown one: status %d, want %d\n%s%s", got.status, statusUnknown, got.out, got.err)
	}
	if len(w.got) > 0 {
		t.Errorf("sent %q", w.got)
	}
}

// TestRefusedListings: a list that the server refuses has no head, and a flag that takes
// a number says so.
func TestRefusedListings(t *testing.T) {
	for line, want := range map[string]string{
		"token list --csv --user nobody@example.com": "No such user",
		"token list --limit x":                       `--limit: "x" is not a number; see gatehouse token list --help`,
		"token list --limit 99999999999999999999":    "--limit: 99999999999999999999 is too large a number; see gatehouse token list --help",
	} {
		got := run(newWorld(), "", nil, strings.Fields(line)...)
		if got.out != "" || got.err != "gatehouse: "+want+"\n" {
			t.Errorf("%s: got %q and %q, want %q", line, got.out, got.err, want)
		}
	}
}

// TestHeld: what is held says why. A few removals may be held, too.
func TestHeld(t *testing.T) {
	w := newWorld()
	w.runs = true
	w.held = api.HeldSweep{Asked: 40, Why: "base_dn, id_attribute or urls have changed", Changes: []api.HeldChange{{UID: "alice@example.com", Action: api.OffboardRemove, Why: "no longer in the directory"}}}
	got := run(w, "", nil, "user", "offboard")
	if want := "about 1 of the 40 users. It is held because base_dn, id_attribute or urls have changed."; !strings.Contains(got.err, want) {
		t.Errorf("got %q, want %q", got.err, want)
	}
	if !strings.Contains(got.out, "alice@example.com") || got.status != 0 {
		t.Errorf("got %+v", got)
	}
}
