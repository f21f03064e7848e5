package server_test

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"gatehouse/server/api"
	"gatehouse/server/config"
	"gatehouse/server/metrics"
	"gatehouse/server/oauth/oauthtest"
	"gatehouse/server/route"
	"gatehouse/storage/storagetest/must"
)

// figures returns one scrape, by name and labels, such as `name{a="b"}`.
func (h *house) figures() map[string]float64 {
	h.Helper()
	got := h.ask("GET", "/metrics").send().want(http.StatusOK)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families := must.Get(parser.TextToMetricFamilies(strings.NewReader(got.text)))(h)
	out := map[string]float64{}
	for name, f := range families {
		for _, m := range f.Metric {
			out[name+labels(m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return out
}

func labels(m *dto.Metric) string {
	var all []string
	for _, l := range m.Label {
		all = append(all, l.GetName()+`="`+l.GetValue()+`"`)
	}
	if all == nil {
		return ""
	}
	return "{" + strings.Join(all, ",") + "}"
}

// TestMetrics: each thing that happens changes its figure.
func TestMetrics(t *testing.T) {
	h := newHouse(t)
	scoped := h.create(`{"scopes":["files"]}`).Secret
	before := h.figures()
	token := h.token()
	for range 3 {
		h.ask("GET", verifyPath).token(token).send().want(http.StatusOK)
	}
	h.ask("POST", verifyPath).token("x").send().want(http.StatusUnauthorized)
	h.ask("GET", verifyPath+"?scope=x").token(scoped).send().want(http.StatusForbidden)
	h.userpass(alice, "wrong").want(http.StatusUnauthorized)
	h.userpass("nobody@example.com", "wrong").want(http.StatusUnauthorized)
	h.login(alice, password)
	h.ask("POST", "/api/login").form("username=a&password=b&method=nonsense").send().want(http.StatusBadRequest)
	h.ask("GET", "/api/tokens").send().want(http.StatusUnauthorized)
	h.ask("GET", "/no/such/page").send().want(http.StatusNotFound)
	h.ask("PUT", "/api/tokens").send().want(http.StatusMethodNotAllowed)
	h.ask("POST", "/api/revoke").form("token=" + token).send().want(http.StatusOK)
	h.ask("POST", "/api/revoke").form("token=" + token).send().want(http.StatusOK)
	h.addUser("bob@example.com", password)
	after := h.figures()
	for name, want := range map[string]float64{
		`gatehouse_requests_total{class="2xx",route="/api/verify"}`:                     3,
		`gatehouse_requests_total{class="4xx",route="/api/verify"}`:                     2,
		`gatehouse_requests_total{class="2xx",route="POST /api/authenticate/userpass"}`: 1,
		`gatehouse_requests_total{class="4xx",route="POST /api/authenticate/userpass"}`: 2,
		`gatehouse_requests_total{class="4xx",route="none"}`:                            2,
		`gatehouse_credentials_refused_total{route="/api/verify"}`:                      1,
		`gatehouse_credentials_refused_total{route="GET /api/tokens"}`:                  1,
		`gatehouse_logins_total{method="userpass",outcome="accepted"}`:                  2,
		`gatehouse_logins_total{method="userpass",outcome="rejected"}`:                  2,
		`gatehouse_verify_seconds`:                                                      1, // the first
		`gatehouse_request_seconds{class="tokens"}`:                                     3, // of a route: those to no route are not timed
		`gatehouse_request_seconds{class="login"}`:                                      5,
		`gatehouse_revocations_total`:                                                   1,
		`gatehouse_users`:                                                               1,
		`gatehouse_tokens{state="live"}`:                                                0,
		`gatehouse_tokens{state="revoked"}`:                                             1,
		`gatehouse_ready`:                                                               0,
		`gatehouse_disk_short`:                                                          0,
	} {
		if _, ok := after[name]; !ok {
			t.Errorf("%s is missing", name)
		}
		for deadline := time.Now().Add(patience); strings.HasPrefix(name, "gatehouse_tokens{") && after[name]-before[name] != want && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond) // a count that took long is not made at each scrape
			after[name] = h.figures()[name]
		}
		if got := after[name] - before[name]; got != want {
			t.Errorf("%s moved by %v, want %v", name, got, want)
		}
	}
	if after["gatehouse_ready"] != 1 || after["gatehouse_disk_short"] != 0 || after["gatehouse_users"] != 2 || after["gatehouse_store_bytes"] <= 0 {
		t.Errorf("got ready %v, disk short %v, %v users, %v bytes", after["gatehouse_ready"], after["gatehouse_disk_short"], after["gatehouse_users"], after["gatehouse_store_bytes"])
	}
	if after["gatehouse_journal_last_sequence"] <= before["gatehouse_journal_last_sequence"] || after["go_goroutines"] == 0 || after["process_resident_memory_bytes"] == 0 {
		t.Error("figures of the journal, of Go or of the process are missing")
	}
	if got, ok := after[`gatehouse_held{act="drop old events"}`]; got != 0 || !ok {
		t.Errorf("got %v events held, %v, want 0", got, ok)
	}
	for range 6 {
		h.userpass(alice, "wrong")
	}
	if h.figures()[`gatehouse_logins_total{method="userpass",outcome="throttled"}`] == 0 {
		t.Error("a throttled login is not counted")
	}
}

// TestMetricsTellNothing: they contain nothing that a client sent or a user has.
func TestMetricsTellNothing(t *testing.T) {
	h := newHouse(t)
	made := h.create(`{"name":"secretly"}`)
	for _, path := range []string{"/api/token/" + made.ID, "/" + made.Secret, "/api/authenticate/" + made.ID, "/api/token/x%22%0aevil", verifyPath + "?scope=evil"} {
		for _, method := range []string{"GET", "POST", "PATCH", "EVIL"} {
			h.ask(method, path).token(made.Secret).send()
		}
	}
	h.ask("POST", "/api/login").form("username=evil@example.com&password=evil&method=evil").send()
	must.Get(h.admin.Revoke(t.Context(), api.Revocation{IDs: []string{made.ID}}))(t)
	text := h.ask("GET", "/metrics").send().want(http.StatusOK).text
	for _, secret := range []string{made.Secret[:40], made.ID, alice, "evil", "EVIL", "192.0.2.1", "secretly", h.dir} {
		if strings.Contains(text, secret) {
			t.Errorf("/metrics holds %q", secret)
		}
	}
	if n := len(h.figures()); n > 400 {
		t.Errorf("got %d series", n)
	}
	h.close()
	if got := h.figures()["gatehouse_ready"]; got != 0 {
		t.Errorf("got ready %v of a closed store", got)
	}
	h.open()
}

// TestMetricsLint: the names are as Prometheus wants them, and each figure has a help
// text. So promtool says.
func TestMetricsLint(t *testing.T) {
	h := newFigureHouse(t)
	problems := must.Get(promlint.New(strings.NewReader(h.ask("GET", "/metrics").send().want(http.StatusOK).text)).Lint())(t)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// newFigureHouse opens a house that has all figures: with a directory, a provider and the
// revocation of idle tokens, after a login and a sweep.
func newFigureHouse(t *testing.T, change ...func(*config.Config)) *house {
	h, _ := newDirectoryHouse(t, append(change, withProvider(oauthtest.New(t, "github"), "github"), func(c *config.Config) {
		c.Tokens.RevokeIdleAfter = config.Lifetime{Duration: 90 * day}
	})...)
	h.ldapToken("alice")
	h.postToken("github", alice, "no-token").want(http.StatusUnauthorized)
	h.sweep(1)
	must.Do(t, h.store.NoteBackup())
	return h
}

// TestMetricsMove: there is no series that can never change. Without a directory,
// providers, a certificate or a backup there are no figures of them, and the counters are
// those of requests that there were.
func TestMetricsMove(t *testing.T) {
	outside := []string{"gatehouse_directory_", "gatehouse_provider_", "gatehouse_sweep_", "gatehouse_certificate_", "gatehouse_backup_timestamp_", `gatehouse_held{act="offboarding"}`, `gatehouse_held{act="revoke idle tokens"}`}
	h := newHouse(t)
	for name, value := range h.figures() {
		for _, prefix := range outside {
			if strings.HasPrefix(name, prefix) {
				t.Errorf("%s is there, and nothing to measure", name)
			}
		}
		if value == 0 && strings.HasPrefix(name, "gatehouse_requests_total") {
			t.Errorf("%s is there without a request", name)
		}
	}
	figures := newFigureHouse(t).figures()
	for _, prefix := range outside {
		found := prefix == "gatehouse_certificate_" // TestExpressions has one
		for name := range figures {
			found = found || strings.HasPrefix(name, prefix)
		}
		if !found {
			t.Errorf("%s is missing where it can be measured", prefix)
		}
	}
}

// TestMetricsOutside: the figures tell how the directory and a provider have answered,
// and when the last sweep was.
func TestMetricsOutside(t *testing.T) {
	h, dir := newDirectoryHouse(t, withProvider(oauthtest.New(t, "github"), "github"))
	want := func(want map[string]float64) {
		t.Helper()
		got := h.figures()
		for name, value := range want {
			if v, ok := got[name]; !ok || v != value {
				t.Errorf("got %s %v, %v, want %v", name, v, ok, value)
			}
		}
	}
	if _, ok := h.figures()[`gatehouse_directory_up{server="1"}`]; ok {
		t.Error("a directory is up or down before it was asked")
	}
	h.ldapToken("alice")
	h.sweep(1)
	now := float64(h.clock.Milli()) / 1000
	want(map[string]float64{
		`gatehouse_directory_up{server="1"}`: 1, "gatehouse_sweep_timestamp_seconds": now, "gatehouse_sweep_in_doubt": 0,
		`gatehouse_held{act="offboarding"}`: 0,
	})
	dir.Stop()
	h.ldap("alice", "alice-secret").want(http.StatusServiceUnavailable)
	h.sweep(1)
	want(map[string]float64{`gatehouse_directory_up{server="1"}`: 0, "gatehouse_sweep_in_doubt": 1})
	h.postToken("github", alice, "no-token").want(http.StatusUnauthorized)
	want(map[string]float64{`gatehouse_provider_up{provider="github"}`: 1})
}

// TestMetricsTokens: each token is in one state, and counts as ending if it is live.
func TestMetricsTokens(t *testing.T) {
	h := newHouse(t)
	h.create(`{"expiresIn":"12h"}`)
	h.create(`{"expiresIn":"100h"}`)
	h.create(`{"expiresIn":"20d"}`)
	h.create("")
	h.create(`{"expiresIn":"1h"}`)
	gone := h.create("")
	must.Get(h.admin.Revoke(t.Context(), api.Revocation{IDs: []string{gone.ID}}))(t)
	h.clock.Pass(2 * time.Hour)
	want := func(live, expired, suspended, revoked, day, week, month float64) {
		t.Helper()
		got := h.figures()
		for name, n := range map[string]float64{
			`tokens{state="live"}`: live, `tokens{state="expired"}`: expired, `tokens{state="suspended"}`: suspended, `tokens{state="revoked"}`: revoked,
			`tokens_ending{within="1d"}`: day, `tokens_ending{within="7d"}`: week, `tokens_ending{within="30d"}`: month,
		} {
			for deadline := time.Now().Add(patience); got["gatehouse_"+name] != n && time.Now().Before(deadline); got = h.figures() {
				time.Sleep(10 * time.Millisecond) // a count that took long is not made at each scrape
			}
			if got["gatehouse_"+name] != n {
				t.Errorf("got %v %s, want %v", got["gatehouse_"+name], name, n)
			}
		}
	}
	want(4, 1, 0, 1, 1, 2, 3)
	must.Do(t, h.admin.DisableUser(t.Context(), alice))
	want(0, 1, 4, 1, 0, 0, 0)
	must.Do(t, h.admin.RemoveUser(t.Context(), alice))
	want(0, 0, 0, 6, 0, 0, 0)
}

// TestMetricsSample: some verifications are timed, and all are counted.
func TestMetricsSample(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	<-h.store.Loaded()
	for range 2*metrics.Sampled + 1 {
		h.ask("GET", verifyPath).token(token).send().want(http.StatusOK)
	}
	got := h.figures()
	if n := got["gatehouse_verify_seconds"]; n != 3 {
		t.Errorf("got %v verifications timed, want 3", n)
	}
	if n := got[`gatehouse_requests_total{class="2xx",route="/api/verify"}`]; n != 2*metrics.Sampled+1 {
		t.Errorf("got %v verifications counted, want %d", n, 2*metrics.Sampled+1)
	}
	if n := got["gatehouse_table_loaded"]; n != 1 {
		t.Errorf("got %v for the loaded table, want 1", n)
	}
}

// TestMetricsCheap: counting costs the gate no allocation.
func TestMetricsCheap(t *testing.T) {
	h := newHouse(t)
	count := h.Metrics().Route(route.Route{Pattern: verifyPath, Who: route.ByGate, Class: route.Gate})
	least := math.Inf(1)
	for n := 0; n < 100 && least > 0; n++ { // what the store does at the same time is counted too
		least = min(least, testing.AllocsPerRun(100, func() {
			start := h.Metrics().Start()
			count.Add(http.StatusOK)
			h.Metrics().Stop(start)
		}))
	}
	if least != 0 {
		t.Errorf("got %v allocations, want none", least)
	}
}
