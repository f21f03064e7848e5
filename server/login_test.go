package server_test

import (
	"bytes"
	"fmt"
	"math"
	"mime/multipart"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/server/admin"
	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/guard"
	"gatehouse/server/reply"
	"gatehouse/storage"
	"gatehouse/storage/storagetest"
	"gatehouse/storage/storagetest/must"
)

const userpassPath = "/api/authenticate/userpass"

func TestLoginBodies(t *testing.T) {
	h := newHouse(t)
	h.addUser("semi@example.com", "a;b&c=d+e %")
	multi := func(fields ...string) (mediaType, body string) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		for i := 0; i < len(fields); i += 2 {
			w.WriteField(fields[i], fields[i+1])
		}
		w.Close()
		return w.FormDataContentType(), b.String()
	}
	const form, json = "application/x-www-form-urlencoded", "application/json"
	good := "username=alice@example.com&password=correct%20horse%20battery%20staple"
	multiType, multiGood := multi("username", alice, "password", password)
	twiceType, multiTwice := multi("username", alice, "username", alice, "password", password)
	for _, c := range []struct {
		what, mediaType, body string
		want                  int
	}{
		{"form", form, good, http.StatusOK},
		{"form with a charset", form + "; charset=UTF-8", good, http.StatusOK},
		{"form, another field", form, good + "&method=userpass&remember=1", http.StatusOK},
		{"form, an open semicolon", form, "username=semi@example.com&password=a;b%26c%3Dd%2Be+%25", http.StatusOK},
		{"json", json, `{"username":"alice@example.com","password":"correct horse battery staple"}`, http.StatusOK},
		{"json with a charset", json + ";charset=utf-8", `{"username":"alice@example.com","password":"correct horse battery staple"}`, http.StatusOK},
		{"json, another field", json, `{"username":"alice@example.com","password":"correct horse battery staple","x":[1e999,{"y":null}]}`, http.StatusOK},
		{"multipart", multiType, multiGood, http.StatusOK},
		{"multipart, a part in UTF-8", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=username\r\n\r\nalice@example.com\r\n--x\r\nContent-Disposition: form-data; name=password\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n" + password + "\r\n--x--\r\n", http.StatusOK},

		{"username twice", form, good + "&username=alice@example.com", http.StatusBadRequest},
		{"password twice", form, good + "&password=x", http.StatusBadRequest},
		{"no password", form, "username=alice@example.com", http.StatusBadRequest},
		{"no username", form, "password=x", http.StatusBadRequest},
		{"empty body", form, "", http.StatusBadRequest},
		{"bad escape", form, "username=%zz&password=x", http.StatusBadRequest},
		{"json twice", json, `{"username":"a","username":"alice@example.com","password":"correct horse battery staple"}`, http.StatusBadRequest},
		{"json in another case", json, `{"Username":"alice@example.com","PASSWORD":"correct horse battery staple"}`, http.StatusBadRequest},
		{"json in both cases", json, `{"username":"alice@example.com","password":"x","Password":"correct horse battery staple"}`, http.StatusBadRequest},
		{"json with a long s", json, `{"username":"alice@example.com","password":"x","pa\u017f\u017fword":"y"}`, http.StatusBadRequest},
		{"json number", json, `{"username":1,"password":2}`, http.StatusBadRequest},
		{"json array", json, `["alice@example.com","x"]`, http.StatusBadRequest},
		{"json null", json, `null`, http.StatusBadRequest},
		{"json, empty", json, ``, http.StatusBadRequest},
		{"json, spaces", json, "  \n", http.StatusBadRequest},
		{"json and more", json, `{"username":"a","password":"b"}{}`, http.StatusBadRequest},
		{"json truncated", json, `{"username":"alice@example.com","pass`, http.StatusBadRequest},
		{"json, single quotes", json, `{'username':'a','password':'b'}`, http.StatusBadRequest},
		{"json, not UTF-8", json, "{\"username\":\"\xff\",\"password\":\"b\"}", http.StatusBadRequest},
		{"json, deep", json, `{"a":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `}`, http.StatusBadRequest},
		{"multipart twice", twiceType, multiTwice, http.StatusBadRequest},
		{"multipart, no boundary", "multipart/form-data", multiGood, http.StatusBadRequest},
		{"multipart, cut off", multiType, multiGood[:len(multiGood)-20], http.StatusBadRequest},
		{"multipart, other boundary", "multipart/form-data; boundary=x", multiGood, http.StatusBadRequest},

		{"plain text", "text/plain", good, http.StatusUnsupportedMediaType},
		{"no type", "", good, http.StatusUnsupportedMediaType},
		{"malformed type", "application/json;;=", "{}", http.StatusUnsupportedMediaType},
		{"xml", "application/xml", "<a/>", http.StatusUnsupportedMediaType},
		{"form in Latin-1", form + "; charset=iso-8859-1", "username=alice@example.com&password=%E9", http.StatusUnsupportedMediaType},
		{"form in Windows-1252", form + `; charset="windows-1252"`, good, http.StatusUnsupportedMediaType},
		{"form in UTF-16", form + "; charset=utf-16", good, http.StatusUnsupportedMediaType},
		{"json in Latin-1", json + "; charset=ISO-8859-1", `{"username":"alice@example.com","password":"x"}`, http.StatusUnsupportedMediaType},
		{"multipart in Latin-1", multiType + "; charset=iso-8859-1", multiGood, http.StatusUnsupportedMediaType},
		{"multipart, a part in Latin-1", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"password\"\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\r\n\xe9\r\n--x--\r\n", http.StatusUnsupportedMediaType},
		{"json by another name", "application/jsonp", "{}", http.StatusUnsupportedMediaType},

		{"64 KiB", form, pad(good, 64<<10), http.StatusOK},
		{"64 KiB and one", form, pad(good, 64<<10+1), http.StatusRequestEntityTooLarge},
		{"64 KiB and one, json", json, pad("{}", 64<<10+1), http.StatusRequestEntityTooLarge},
		{"64 KiB and one, unknown type", "text/plain", pad("", 64<<10+1), http.StatusRequestEntityTooLarge},
		{"a megabyte", form, pad(good, 1<<20), http.StatusRequestEntityTooLarge},
	} {
		for _, path := range []string{userpassPath, "/api/login"} {
			got := h.ask("POST", path).body(c.mediaType, c.body).send()
			want := c.want
			if path == "/api/login" && want == http.StatusOK {
				want = http.StatusNoContent
			}
			if got.code != want {
				t.Errorf("%s: %s: got %d %.200s, want %d", path, c.what, got.code, got.text, want)
			} else if want >= 400 {
				got.wantError()
			}
		}
	}
	h.ask("POST", userpassPath).form(good).header("Content-Encoding", "gzip").send().want(http.StatusUnsupportedMediaType)
	chunked := h.ask("POST", userpassPath).form(pad(good, 64<<10+1))
	chunked.r.ContentLength = -1
	chunked.send().want(http.StatusRequestEntityTooLarge)
	h.ask("POST", userpassPath+"?"+good).form("").send().want(http.StatusBadRequest)
}

// pad makes a form longer with a field that nobody reads.
func pad(form string, n int) string { return form + "&x=" + strings.Repeat("x", n-len(form)-3) }

// TestLoginRefusals: unknown, wrong, disabled, hostile: one answer.
func TestLoginRefusals(t *testing.T) {
	h := newHouse(t, func(c *config.Config) {
		c.Logins = config.Logins{Local: true, AccountFailures: 1000, AddressFailures: 60_000}
	})
	h.addUser("off@example.com", password)
	must.Do(t, h.admin.DisableUser(t.Context(), "off@example.com"))
	var first answer
	for _, c := range [][2]string{
		{alice, "wrong"}, {alice, ""}, {alice, password + " "}, {alice, strings.ToUpper(password)}, {alice, password[:len(password)-1]},
		{alice, password + "\x00"}, {alice, strings.Repeat("x", 256)}, {alice, strings.Repeat("x", 257)}, {alice, strings.Repeat("x", 50_000)},
		{"nobody@example.com", password}, {"nobody@example.com", ""}, {"", ""}, {"", password}, {"off@example.com", password}, {"off@example.com", "wrong"},
		{alice + "\x00", password}, {"\x00", password}, {strings.Repeat("a", 50_000), password}, {strings.Repeat("ﷺ", 10_000), password},
		{"alice", password}, {"*", password}, {"alice@example.com)(uid=*", password}, {"' or 1=1 --", password}, {"../../etc/passwd", password}, {"\xff\xfe", password},
		{"a\u200blice@example.com", password}, {" alice@example.com", password},
	} {
		got := h.userpass(c[0], c[1])
		if strings.Contains(c[0], "\xff") {
			got = h.ask("POST", userpassPath).form("username=%ff%fe&password=x").send()
		}
		if got.code != http.StatusUnauthorized || got.text != invalidCredentials {
			t.Fatalf("%.40q with %.40q: got %d %.200s", c[0], c[1], got.code, got.text)
		}
		got.header.Del("X-Request-Id") // each request's own
		if first.header == nil {
			first = got
		}
		if fmt.Sprint(got.header) != fmt.Sprint(first.header) {
			t.Errorf("%.40q with %.40q: got headers %v, and %v elsewhere", c[0], c[1], got.header, first.header)
		}
		login := h.ask("POST", "/api/login").json(toJSON(map[string]string{"username": c[0], "password": c[1]})).send()
		login.want(http.StatusUnauthorized, invalidCredentials).wantHeader("Set-Cookie", "")
	}
	for _, spelling := range []string{"ALICE@example.com", "Alice@Example.Com", "ａｌｉｃｅ@example.com", "alice＠example.com"} {
		h.userpass(spelling, password).want(http.StatusOK)
	}
}

// TestLoginLogHoldsNoSecret reads what the refusals and the logins left in the log.
func TestLoginLogHoldsNoSecret(t *testing.T) {
	h := newHouse(t)
	token, cookie := h.token(), h.login(alice, password)
	h.userpass(alice, "hunter2-typed-wrong").want(http.StatusUnauthorized)
	h.userpass("hunter2-typed-as-name", "x").want(http.StatusUnauthorized)
	h.ask("DELETE", "/api/token/"+token).cookie(cookie).send().want(http.StatusNotFound)
	h.ask("GET", "/api/revokeApiToken").token(token).send()
	for _, secret := range []string{token, token[30:60], cookie, password, "hunter2"} {
		if strings.Contains(h.log.String(), secret) {
			t.Errorf("the log holds %.12s…:\n%s", secret, h.log)
		}
	}
	var refused []api.Event
	for e := range must.All(h.admin.Events(t.Context(), api.EventQuery{}))(t) {
		if s := fmt.Sprint(e); strings.Contains(s, "hunter2") || strings.Contains(s, token[30:60]) {
			t.Errorf("the audit log holds a secret: %s", s)
		}
		if e.Action == storage.ActionLoginRefused {
			refused = append(refused, e)
		}
	}
	if len(refused) != 2 || refused[0].UID != alice || refused[0].Address != "192.0.2.1" || refused[1].UID != "" {
		t.Errorf("got %+v, want one refusal of alice and one of nobody", refused)
	}
}

func TestLoginMethods(t *testing.T) {
	h := newHouse(t)
	good := "username=alice@example.com&password=correct+horse+battery+staple"
	h.ask("POST", "/api/login").form(good+"&method=userpass").send().want(http.StatusNoContent, "")
	h.ask("POST", "/api/login").form(good + "&method=").send().want(http.StatusNoContent)
	for _, method := range []string{"ldap", "USERPASS", "userpass%00", "github"} {
		h.ask("POST", "/api/login").form(good+"&method="+method).send().want(http.StatusBadRequest).wantHeader("Set-Cookie", "")
	}
	for _, provider := range []string{"ldap", "github", "google", "userpass2", "USERPASS", "%00", "a%2Fb"} {
		h.ask("POST", "/api/authenticate/"+provider).form(good).send().want(http.StatusNotFound)
	}
	h.ask("POST", "/api/authenticate/github").json(`{"email":"alice@example.com","info":{"accessToken":"x"}}`).send().want(http.StatusNotFound)
	h.ask("POST", "/api/authenticate/").form(good).send().want(http.StatusNotFound)
}

// TestUnknownUserCostsTheSame compares, side by side, the times of refusals with the
// parameters of real use. The limits are wide: the test must catch a hash that is not
// computed, which is a factor of hundreds. The fastest of each kind counts. A busy
// machine gets more rounds, which do not make a reply without a hash slower.
func TestUnknownUserCostsTheSame(t *testing.T) {
	h := newHouse(t, func(c *config.Config) {
		c.Logins = config.Logins{Local: true, AccountFailures: 1000, AddressFailures: 60_000}
	})
	h.hashWith(guard.NewHasher(guard.HashParams, 4, 1024))
	h.addUser("real@example.com", password)
	h.addUser("off@example.com", password)
	must.Do(t, h.admin.DisableUser(t.Context(), "off@example.com"))
	long := strings.Repeat("x", 300)
	kinds := [][2]string{{"real@example.com", "wrong"}, {"unknown@example.com", "wrong"}, {"off@example.com", password}, {"real@example.com", long}, {"unknown@example.com", long}}
	fastest := slices.Repeat([]time.Duration{math.MaxInt64}, len(kinds))
	alike := func(i int) bool { return fastest[i] >= fastest[0]/3 && fastest[i] <= fastest[0]*3 }
	for round, same := 0, false; round < 5 || round < 100 && !same; round++ {
		same = true
		for i, k := range kinds {
			start := time.Now()
			h.userpass(k[0], k[1]).want(http.StatusUnauthorized, invalidCredentials)
			fastest[i] = min(fastest[i], time.Since(start))
			same = same && alike(i)
		}
	}
	for i, k := range kinds {
		t.Logf("%.24s with %.10s: %v", k[0], k[1], fastest[i])
		if !alike(i) {
			t.Errorf("%s with %.10s: got %v at best, and %v for a known user", k[0], k[1], fastest[i], fastest[0])
		}
	}
}

func TestPasswordLengths(t *testing.T) {
	h := newHouse(t)
	longest := strings.Repeat("p", 256)
	h.addUser("long@example.com", longest)
	h.userpass("long@example.com", longest).want(http.StatusOK)
	h.userpass("long@example.com", longest+"p").want(http.StatusUnauthorized, invalidCredentials)
	h.userpass("long@example.com", longest[:255]).want(http.StatusUnauthorized, invalidCredentials)
}

func TestFirstRun(t *testing.T) {
	h := &house{TB: t, dir: t.TempDir(), cfg: config.Default(), log: new(storagetest.Log), clock: storagetest.NewClock(time.Unix(1_700_000_000, 0))}
	h.open()
	t.Cleanup(h.close)
	file, first, made, err := h.FirstRun(t.Context())
	if err != nil || !made {
		t.Fatalf("got made %v, %v", made, err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != first || len(first) < 20 {
		t.Fatalf("got the file %q, %v, want the password alone", text, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	if strings.Contains(h.log.String(), first) {
		t.Error("the log holds the password")
	}
	h.userpass(admin.FirstUser, "wrong").want(http.StatusUnauthorized)
	if _, err := os.Stat(file); err != nil {
		t.Errorf("after a refused login: %v", err)
	}
	h.userpass("ME@LOCALHOST", first).want(http.StatusOK)
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("after the first login: got %v, want no file", err)
	}
	h.userpass(admin.FirstUser, first).want(http.StatusOK)
	if _, _, made, err = h.FirstRun(t.Context()); made || err != nil {
		t.Errorf("second run: got made %v, %v", made, err)
	}
}

// TestDisabledMeanwhile: if a user is stopped between the check of the password and the
// making of the token, the answer is the same as for everybody.
func TestDisabledMeanwhile(t *testing.T) {
	for err, want := range map[error]int{storage.ErrNoUser: http.StatusUnauthorized, storage.ErrTooMany: http.StatusForbidden} {
		if got, _ := reply.Status(reply.UnlessGone(err, reply.ErrInvalid)); got != want {
			t.Errorf("%v: got %d, want %d", err, got, want)
		}
	}
}
