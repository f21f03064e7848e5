package ldap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"gatehouse/ldap/ldaptest"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

// patience is how long to wait for something that must come, even on a busy machine.
// After that, it hangs.
const patience = 5 * time.Minute

// resources counts what a connection would leak.
func resources() (goroutines, files int) {
	if entries, err := os.ReadDir("/proc/self/fd"); err == nil {
		files = len(entries)
	}
	return runtime.NumGoroutine(), files
}

// noLeak calls f and waits until no more is held than before.
func noLeak(t *testing.T, f func()) {
	t.Helper()
	g0, f0 := resources()
	f()
	var g, n int
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if g, n = resources(); g <= g0 && n <= f0 {
			return
		}
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("%d goroutines and %d files became %d and %d\n%s", g0, f0, g, n, stacks[:runtime.Stack(stacks, true)])
}

func TestTLS(t *testing.T) {
	s := startSlapd(t)
	bare := startSlapd(t, ldaptest.WithoutTLS)
	other := ldaptest.NewAuthority(t)
	otherCA := s.File("other.pem", other.PEM)
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string // in the error; empty: it works
	}{
		{"ldaps", func(c *Config) {}, ""},
		{"starttls", func(c *Config) { c.URLs, c.StartTLS = []string{"ldap://" + s.Addr}, true }, ""},
		{"starttls beside insecure", func(c *Config) { c.URLs, c.StartTLS, c.Insecure = []string{"ldap://" + s.Addr}, true, true }, ""},
		{"plain, insecure", func(c *Config) { c.URLs, c.Insecure = []string{"ldap://" + s.Addr}, true }, ""},
		{"ldaps, wrong authority", func(c *Config) { c.CAFile = otherCA }, "certificate"},
		{"ldaps, wrong authority, insecure", func(c *Config) { c.CAFile, c.Insecure = otherCA, true }, "certificate"},
		{"ldaps, the system's authorities", func(c *Config) { c.CAFile = "" }, "certificate"},
		{"starttls, wrong authority", func(c *Config) {
			c.URLs, c.StartTLS, c.CAFile = []string{"ldap://" + s.Addr}, true, otherCA
		}, "certificate"},
		{"starttls, wrong authority, insecure", func(c *Config) {
			c.URLs, c.StartTLS, c.Insecure, c.CAFile = []string{"ldap://" + s.Addr}, true, true, otherCA
		}, "certificate"},
		{"ldaps, wrong name", func(c *Config) { c.URLs = []string{strings.Replace(c.URLs[0], "127.0.0.1", "localhost", 1)} }, "certificate"},
		{"starttls, wrong name", func(c *Config) {
			c.URLs, c.StartTLS = []string{strings.Replace("ldap://"+s.Addr, "127.0.0.1", "localhost", 1)}, true
		}, "certificate"},
		{"starttls, server without TLS", func(c *Config) { c.URLs, c.StartTLS = []string{"ldap://" + bare.Addr}, true }, "tls"},
		{"starttls, server without TLS, insecure", func(c *Config) {
			c.URLs, c.StartTLS, c.Insecure = []string{"ldap://" + bare.Addr}, true, true
		}, "tls"},
		{"ldaps to a plain port", func(c *Config) { c.URLs = []string{"ldaps://" + s.Addr} }, "tls"},
		{"plain to a tls port", func(c *Config) { c.URLs, c.Insecure = []string{"ldap://" + s.TLSAddr}, true }, "bind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := s.config()
			test.change(&c)
			noLeak(t, func() {
				d := open(t, c)
				defer d.Close()
				_, err := d.Login(t.Context(), "alice", "alice-secret")
				switch {
				case test.want == "" && err != nil:
					t.Errorf("got %v", err)
				case test.want != "" && (!errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), test.want)):
					t.Errorf("got %v, want one about %q", err, test.want)
				}
			})
		})
	}
}

// No password is ever sent after a StartTLS that fails, or that a man in the middle
// refuses.
func TestNoDowngrade(t *testing.T) {
	for name, answers := range map[string][]*ber.Packet{
		"refused":         {result(goldap.ApplicationExtendedResponse, 52, "no TLS today")},
		"protocol error":  {result(goldap.ApplicationExtendedResponse, 2, "")},
		"success, silent": {result(goldap.ApplicationExtendedResponse, 0, "")},
		"success, then plain text": {
			result(goldap.ApplicationExtendedResponse, 0, ""), bound(0, "")[0], bound(0, "")[0],
		},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			var binds int
			addr := fake(t, func(r request) []*ber.Packet {
				if r.op == goldap.ApplicationBindRequest {
					mu.Lock()
					binds++
					mu.Unlock()
				}
				return answers
			})
			c := plain(addr)
			c.StartTLS, c.Timeout = true, 300*time.Millisecond
			if _, err := open(t, c).Login(t.Context(), "alice", "alice-secret"); !errors.Is(err, ErrUnavailable) {
				t.Errorf("got %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			if binds != 0 {
				t.Errorf("%d binds in plain text", binds)
			}
		})
	}
}

// tarpits are servers that take a connection and then do their worst.
func tarpits(t *testing.T) map[string]string {
	entries := func(r request) []*ber.Packet {
		many := make([]*ber.Packet, 1<<15) // twice what is read of them
		for i := range many {
			many[i] = found(fmt.Sprintf("uid=%d,%s", i, peopleDN), map[string][]string{"mail": {strings.Repeat("x", 200)}})
		}
		return many
	}
	references := make([]*ber.Packet, 1<<16)
	for i := range references {
		references[i] = reference("ldap://elsewhere.example/" + strings.Repeat("x", 100))
	}
	afterBind := func(answer func(request) []*ber.Packet) string {
		return fake(t, func(r request) []*ber.Packet {
			if r.op == goldap.ApplicationBindRequest {
				return bound(0, "")
			}
			return answer(r)
		})
	}
	drip := func(c net.Conn) {
		head := []byte{0x30, 0x83, 0x03, 0xff, 0xff, 0x02, 0x01, 0x01, 0x04, 0x83, 0x03, 0x00, 0x00}
		for i := 0; ; i++ {
			b := byte('x')
			if i < len(head) {
				b = head[i]
			}
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	silent := func(c net.Conn) { io.Copy(io.Discard, c) }
	return map[string]string{
		"silent":           ldaptest.Listen(t, silent),
		"closes":           ldaptest.Listen(t, func(net.Conn) {}),
		"drips":            ldaptest.Listen(t, drip),
		"garbage":          ldaptest.Listen(t, func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); silent(c) }),
		"claims 1 GB":      ldaptest.Listen(t, func(c net.Conn) { c.Write([]byte{0x30, 0x84, 0x40, 0, 0, 0}); silent(c) }),
		"nests":            ldaptest.Listen(t, func(c net.Conn) { c.Write([]byte(strings.Repeat("\x30\x80", 1<<20))); silent(c) }),
		"sends zeros":      ldaptest.Listen(t, func(c net.Conn) { c.Write(make([]byte, 1<<20)); silent(c) }),
		"silent search":    afterBind(func(request) []*ber.Packet { return []*ber.Packet{} }),
		"closes in search": afterBind(func(request) []*ber.Packet { return nil }),
		"endless entries":  afterBind(entries),
		"endless references": afterBind(func(request) []*ber.Packet {
			return references
		}),
		"huge entry": afterBind(func(request) []*ber.Packet {
			return []*ber.Packet{found(alice, map[string][]string{"mail": {strings.Repeat("x", 300<<10)}}), done(0)}
		}),
		"answers to another question": afterBind(func(request) []*ber.Packet { return bound(0, "") }),
	}
}

// Whichever server it meets, a login ends in time and leaves nothing behind.
func TestTarpit(t *testing.T) {
	for name, addr := range tarpits(t) {
		for _, form := range []string{"plain", "starttls", "ldaps"} {
			t.Run(name+"/"+form, func(t *testing.T) {
				t.Parallel()
				c := plain(addr)
				c.Timeout = 200 * time.Millisecond
				switch form {
				case "starttls":
					c.StartTLS = true
				case "ldaps":
					c.URLs = []string{"ldaps://" + addr}
				}
				start := time.Now()
				d := open(t, c)
				e, err := d.Login(t.Context(), "alice", "alice-secret")
				if err == nil || (!errors.Is(err, ErrUnavailable) && !e.ambiguous && !errors.Is(err, ErrRefused)) {
					t.Errorf("got %+v, %v", e, err)
				}
				if took := time.Since(start); took > patience {
					t.Errorf("took %s", took)
				}
				if states, err := d.Lookup(t.Context(), []string{"eee1fa86-7a8d-1041-9af5-335988db20b8"}); err == nil {
					t.Errorf("look up: %+v", states)
				}
			})
		}
	}
}

func TestTarpitLeavesNothing(t *testing.T) {
	addr := ldaptest.Listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	noLeak(t, func() {
		for _, form := range []string{"ldap", "ldaps"} {
			c := plain(addr)
			c.URLs, c.StartTLS, c.Timeout = []string{form + "://" + addr}, true, 100*time.Millisecond
			d := open(t, c)
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if _, err := d.Login(t.Context(), "alice", "alice-secret"); !errors.Is(err, ErrUnavailable) {
						t.Errorf("got %v", err)
					}
				})
			}
			wg.Wait()
			d.Close()
		}
	})
}

// The first server hangs with its connections open: the second one answers
// within the default time-out, and the first is left alone for a while.
func TestStoppedServer(t *testing.T) {
	storagetest.Slow(t)
	first, second := startSlapd(t), startSlapd(t)
	clock := storagetest.NewClock(time.Now())
	c := first.config()
	c.URLs = append(c.URLs, "ldaps://"+second.TLSAddr)
	c.CAFile = first.File("both.pem", read(t, first.CA)+read(t, second.CA))
	c.Now = clock.Now
	d, log := openLogged(t, c)
	login := func() {
		t.Helper()
		must.Get(d.Login(t.Context(), "alice", "alice-secret"))(t)
	}
	login()
	first.Signal(syscall.SIGSTOP)
	d.cfg.Timeout = 5 * time.Second // the default: half of it for each
	for n := 0; ; n++ {
		start := time.Now()
		_, err := d.Login(t.Context(), "alice", "alice-secret")
		if err == nil {
			t.Logf("fail-over took %s", time.Since(start))
			break
		}
		if n == 20 || !errors.Is(err, ErrUnavailable) {
			t.Fatal(err)
		}
		clock.Move(penalty) // the second one was late, on a busy machine
	}
	d.cfg.Timeout = 20 * time.Second
	if s := d.Servers(); s[0].Reachable || s[0].LastError == "" || !s[1].Reachable {
		t.Errorf("after the fail-over: %+v", s)
	}

	// During the penalty the first server is not even tried: its failure is the old one.
	failure := d.Servers()[0].LastFailure
	clock.Move(penalty - time.Second)
	login()
	if s := d.Servers(); s[0].LastFailure != failure {
		t.Errorf("tried in its penalty: %+v", s[0])
	}
	// After the penalty, one login finds out that the server still hangs.
	clock.Move(2 * time.Second)
	login()
	if s := d.Servers(); s[0].LastFailure == failure {
		t.Errorf("not tried after its penalty: %+v", s[0])
	}
	first.Signal(syscall.SIGCONT)
	clock.Move(penalty)
	login()
	if s := d.Servers(); !s[0].Reachable {
		t.Errorf("not used again: %+v", s[0])
	}
	var failed, back int
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, first.TLSAddr) {
			continue
		}
		failed += strings.Count(line, "directory server failed")
		back += strings.Count(line, "directory server is back")
	}
	if failed != 1 || back != 1 {
		t.Errorf("the log of one outage:\n%s", log)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b := must.Get(os.ReadFile(path))(t)
	return string(b)
}

// If all servers are down, the answer is a fault, in time. When one comes back, it is
// used at once, even in its penalty.
func TestAllServersDown(t *testing.T) {
	s := startSlapd(t)
	c := s.config()
	c.URLs = append([]string{"ldaps://" + storagetest.FreePort(t)}, c.URLs...)
	d := open(t, c)
	s.Stop()
	if _, err := d.Login(t.Context(), "alice", "alice-secret"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	for _, status := range d.Servers() {
		if status.Reachable || status.LastError == "" || !status.LastSuccess.IsZero() {
			t.Errorf("status %+v", status)
		}
	}
	s.Start()
	if _, err := d.Login(t.Context(), "alice", "alice-secret"); err != nil {
		t.Errorf("back again: %v", err)
	}
}

// After a restart, the server has dropped the pooled connections: nobody notices.
func TestRestart(t *testing.T) {
	s := startSlapd(t)
	d := open(t, s.config())
	for range 3 {
		var wg sync.WaitGroup
		for range 2 * maxIdle {
			wg.Go(func() {
				if _, err := d.Login(t.Context(), "alice", "alice-secret"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.Stop()
		s.Start()
	}
}

// A pooled connection that dies only when it is used is replaced.
func TestDeadPooledConnection(t *testing.T) {
	s := startSlapd(t)
	var mu sync.Mutex
	searches := 0
	backend := record(t, s.Addr)
	addr := ldaptest.Listen(t, func(client net.Conn) {
		upstream, err := net.Dial("tcp", backend.addr)
		if err != nil {
			return
		}
		defer upstream.Close()
		go func() { defer client.Close(); io.Copy(client, upstream) }()
		for n := 0; ; n++ {
			p, err := ber.ReadPacket(client)
			if err != nil {
				return
			}
			if parseRequest(p).op == goldap.ApplicationSearchRequest {
				mu.Lock()
				searches++
				mu.Unlock()
				if n > 1 {
					return // the second search on one connection cuts it
				}
			}
			upstream.Write(p.Bytes())
		}
	})
	d := open(t, plain(addr))
	for i := range 3 {
		if _, err := d.Login(t.Context(), "alice", "alice-secret"); err != nil {
			t.Fatalf("login %d: %v", i, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if searches != 5 {
		t.Errorf("got %d searches, want 1 and twice 2", searches)
	}
}

// A wrong password of the service account is the operator's fault, not the
// user's, and is not offered again and again until the account is locked.
func TestServiceAccount(t *testing.T) {
	s := startSlapd(t)
	clock := storagetest.NewClock(time.Now())
	c := s.config()
	c.BindPassword = "wrong-reader-secret"
	c.Now = clock.Now
	proxy := record(t, s.Addr)
	c.URLs, c.Insecure = []string{"ldap://" + proxy.addr}, true
	d, log := openLogged(t, c)
	for range 10 {
		_, err := d.Login(t.Context(), "alice", "alice-secret")
		if !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInvalidCredentials) || !strings.Contains(err.Error(), "bind_password_file") {
			t.Fatalf("got %v", err)
		}
	}
	if n := proxy.count(); n != 1 {
		t.Errorf("offered %d times", n)
	}
	clock.Move(penalty)
	d.Login(t.Context(), "alice", "alice-secret")
	if n := proxy.count(); n != 2 {
		t.Errorf("offered %d times after the penalty, want 2", n)
	}
	if got := log.String(); !strings.Contains(got, "service account") || strings.Contains(got, "wrong-reader-secret") || strings.Contains(got, "alice-secret") {
		t.Errorf("log:\n%s", got)
	}
}

// A caller who gives up says nothing about the server.
func TestCallerGoesAway(t *testing.T) {
	addr := ldaptest.Listen(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	d := open(t, plain(addr))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := d.Login(ctx, "alice", "alice-secret"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v", err)
	}
	if s := d.Servers()[0]; !s.LastFailure.IsZero() {
		t.Errorf("penalised: %+v", s)
	}
}

// Ten thousand logins, a few hundred with -short, leave neither a goroutine nor
// a file behind.
func TestManyLogins(t *testing.T) {
	s := startSlapd(t)
	total := 10000
	if testing.Short() {
		total = 300
	}
	noLeak(t, func() {
		d := open(t, s.config())
		start := time.Now()
		work := make(chan int)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := range work {
					// One in ten is wrong; a right one in between resets the policy's count.
					name, password, want := "alice", "alice-secret", error(nil)
					if i%10 == 0 {
						name, want = "nobody", ErrInvalidCredentials
					}
					if _, err := d.Login(t.Context(), name, password); !errors.Is(err, want) {
						t.Errorf("login %d: got %v, want %v", i, err, want)
					}
				}
			})
		}
		for i := range total {
			work <- i
		}
		close(work)
		wg.Wait()
		t.Logf("%d logins over ldaps in %s", total, time.Since(start).Round(time.Millisecond))
		if n := len(d.servers[0].idle); n == 0 || n > maxIdle {
			t.Errorf("%d connections in the pool", n)
		}
		d.Close()
	})
}

// A domain controller of Samba makes itself a certificate without a subject alternative
// name. The manual shows the resulting error, and a command that makes an accepted
// certificate.
func TestSubjectAlternativeName(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if missing := "openssl is missing: install Debian's package openssl"; err != nil && os.Getenv("CI") == "true" {
		t.Fatal(missing)
	} else if err != nil {
		t.Skip(missing)
	}
	chapter := read(t, "../server/manual/ldap.md")
	_, command, _ := strings.Cut(chapter, "\nopenssl req")
	command, _, ok := strings.Cut(command, "\nchmod")
	with := strings.ReplaceAll(command, "dc1.corp.example", "localhost")
	without := strings.Replace(with, "-addext subjectAltName=DNS:localhost", "", 1)
	if !ok || with == without || with == command {
		t.Fatalf("the manual has another command than expected: %s", command)
	}
	for _, test := range []struct{ command, want string }{
		{with, ""}, {without, "certificate relies on legacy Common Name field, use SANs instead"},
	} {
		s := startSlapd(t)
		dir := t.TempDir()
		sh := exec.Command("sh", "-ec", openssl+" req"+test.command)
		sh.Dir = dir
		if out, err := sh.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		s.Stop()
		s.File("cert.pem", read(t, dir+"/dc1.pem"))
		s.File("key.pem", read(t, dir+"/dc1-key.pem"))
		s.Start()
		c := s.config()
		c.URLs, c.CAFile = []string{strings.Replace(c.URLs[0], "127.0.0.1", "localhost", 1)}, dir+"/dc1.pem"
		_, err := open(t, c).Login(t.Context(), "alice", "alice-secret")
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(chapter, test.want)) {
			t.Errorf("%s: got %v, want %q", test.command, err, test.want)
		}
	}
}

// What a password policy says about the service account itself. An account that may only
// change its password, or that is locked, is not accepted, with the reason. A grace login
// is spent with a warning.
func TestServiceAccountPolicy(t *testing.T) {
	account := func(name, more string) string {
		return fmt.Sprintf("\ndn: cn=%s,%s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: %[1]s\nuserPassword: reader-secret\n%[3]s\n", name, base, more)
	}
	const old = "pwdChangedTime: 20200101000000Z\npwdPolicySubentry: cn="
	s := startSlapd(t, ldaptest.WithEntries(account("reset", "pwdReset: TRUE")+account("locked", "pwdAccountLockedTime: 000001010000Z")+
		account("expired", old+"strict,ou=policies,"+base)+account("grace", old+"graceful,ou=policies,"+base)))
	inForm := func(answers []*ber.Packet) string {
		return fake(t, func(r request) []*ber.Packet {
			if r.op == goldap.ApplicationBindRequest {
				return answers
			}
			return []*ber.Packet{done(goldap.LDAPResultUnwillingToPerform)}
		})
	}
	for _, test := range []struct {
		name, account, server string
		refused, warned       string
	}{
		{"must change", "reset", "", string(ReasonMustChange), ""},
		{"locked", "locked", "", string(ReasonLocked), ""},
		{"expired", "expired", "", string(ReasonPasswordExpired), ""},
		{"grace login", "grace", "", "", "2 grace logins left"},
		{"must change, 389", "reader", inForm([]*ber.Packet{withControl(bound(0, "")[0], goldap.ControlTypeVChuPasswordMustChange, []byte("0"))}), string(ReasonMustChange), ""},
		{"expires soon, 389", "reader", inForm([]*ber.Packet{withControl(bound(0, "")[0], goldap.ControlTypeVChuPasswordWarning, []byte("86400"))}), "", "expires in 24h"},
		{"inactivated, 389", "reader", inForm(bound(53, "Account inactivated. Contact system administrator.")), "inactivated", ""},
		{"must change, Active Directory", "reader", inForm(bound(49, "80090308: LdapErr: DSID-0C0903D9, comment: AcceptSecurityContext error, data 773, v4563")), "773", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := s.config()
			if test.server != "" {
				c = plain(test.server)
			}
			c.BindDN = "cn=" + test.account + "," + base
			d, log := openLogged(t, c)
			var bind Step
			for _, step := range d.Check(t.Context(), "alice") {
				if step.Name == "bind" {
					bind = step
				}
			}
			if bind.OK != (test.refused == "") || bind.Warning != (test.warned != "") || !strings.Contains(bind.Detail, test.refused+test.warned) {
				t.Errorf("check: got %+v", bind)
			}
			_, err := d.Find(t.Context(), "alice")
			if refused := err != nil && strings.Contains(err.Error(), "was not accepted"); refused != (test.refused != "") || refused && !strings.Contains(err.Error(), test.refused) {
				t.Errorf("find: got %v", err)
			}
			if warned := strings.Contains(log.String(), "has to be changed soon"); warned != (test.warned != "") {
				t.Errorf("the log says %s", log)
			}
		})
	}
}
