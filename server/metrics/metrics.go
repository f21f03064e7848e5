// Package metrics has the figures of a server: those that Prometheus reads, and the
// activity of the last two minutes for the terminal UI.
//
//	metrics.go   counts what happens: requests, logins, revocations, and how long they took
//	state.go     reads at each scrape how things stand: store, disk, backup, certificate,
//	             directory, providers
//	tally.go     the tokens by state, counted less often when that takes long
//	activity.go  the last seconds, from the same counters
//
// Everybody who can reach the port may read the metrics. So they contain no user, token,
// address or host name, and no label has text that a client can choose. Series that can
// never change are left out: those for parts that are not configured, and those for
// requests that have not come yet. The package never decides anything, and never asks a
// directory or a provider.
package metrics

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/server/reply"
	"gatehouse/server/route"
)

// Metrics are the figures of a server.
type Metrics struct {
	registry    *prometheus.Registry
	scrape      http.Handler
	requests    *prometheus.CounterVec   // route, class
	refused     *prometheus.CounterVec   // route
	logins      *prometheus.CounterVec   // method, outcome
	seconds     *prometheus.HistogramVec // class of route
	verify      prometheus.Histogram
	revocations prometheus.Counter

	verifications atomic.Uint64
	activity      activity

	mu      sync.Mutex
	counted []prometheus.Counter // those in requests, for activity to sum up
	turned  atomic.Int64         // requests turned away with 401, 403 or 429
}

// New returns the figures that can be read from these sources.
func New(from Sources) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_requests_total", Help: "Requests by route and class of the status; route none: no such address or method.",
		}, []string{"route", "class"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_credentials_refused_total", Help: "Requests without a usable credential where one is needed.",
		}, []string{"route"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_logins_total", Help: "Logins by method, and how they ended.",
		}, []string{"method", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_request_seconds", Help: "How long requests took within the server, by what the route is for; gatehouse_verify_seconds has the gate's.",
			Buckets: []float64{1e-4, 5e-4, 1e-3, 5e-3, 0.025, 0.1, 0.5, 1, 5, 30},
		}, []string{"class"}),
		verify: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_verify_seconds", Help: fmt.Sprintf("How long /api/verify took within the server, of one in %d; gatehouse_requests_total counts all.", Sampled),
			Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 0.1, 1},
		}),
		revocations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_revocations_total", Help: "Tokens revoked by a request, a command or the policy; not those of removed users.",
		}),
	}
	m.registry.MustRegister(m.requests, m.refused, m.logins, m.seconds, m.verify, m.revocations,
		&state{from: from, tokens: tally{count: from.Store.Census}},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.scrape = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// ServeHTTP serves a scrape.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.scrape.ServeHTTP(w, r) }

// NoRoute is the label for requests that no route serves.
const NoRoute = "none"

// Route counts the requests of a route. It holds the counters, so that no request has to
// look them up.
type Route struct {
	of      *Metrics
	name    string
	classes [6]atomic.Pointer[prometheus.Counter] // by hundreds of the status; nil: there was none yet
	refused prometheus.Counter                    // nil where no credential is asked for
	seconds prometheus.Observer                   // nil for the gate, which has a histogram of its own, and where there is no route
}

// Route returns the counters of a route.
func (m *Metrics) Route(rt route.Route) *Route {
	c := &Route{of: m, name: rt.Name()}
	if rt.Who != route.Nobody {
		c.refused = m.refused.WithLabelValues(c.name)
	}
	if rt.Class != "" && rt.Class != route.Gate {
		c.seconds = m.seconds.WithLabelValues(string(rt.Class))
	}
	return c
}

// Add counts a request that was answered with a status.
func (c *Route) Add(status int) {
	n := min(max(status/100, 0), len(c.classes)-1)
	one := c.classes[n].Load()
	if one == nil {
		one = c.of.class(c.name, n)
		c.classes[n].Store(one)
	}
	(*one).Inc()
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		c.of.turned.Add(1)
	}
	if status == http.StatusUnauthorized && c.refused != nil {
		c.refused.Inc()
	}
}

// class returns the counter for a route and hundreds of the status. The port, the gate
// and the servers after a reload share it.
func (m *Metrics) class(pattern string, n int) *prometheus.Counter {
	m.mu.Lock()
	defer m.mu.Unlock()
	one := m.requests.WithLabelValues(pattern, strconv.Itoa(n)+"xx")
	for i, c := range m.counted {
		if c == one {
			return &m.counted[i]
		}
	}
	m.counted = append(m.counted, one)
	return &one
}

// Took notes how long a request took.
func (c *Route) Took(d time.Duration) {
	if c.seconds != nil {
		c.seconds.Observe(d.Seconds())
	}
}

// Panicked counts a request whose handler panicked.
func (m *Metrics) Panicked(pattern string) {
	(*m.class(pattern, http.StatusInternalServerError/100)).Inc()
}

// Sampled is how many verifications there are for each one that is timed. Reading the clock
// twice takes a considerable part of the time of a verification.
const Sampled = 16

// Start begins a verification. It returns the zero time if this one is not timed.
func (m *Metrics) Start() (t time.Time) {
	if m.verifications.Add(1)%Sampled == 1 {
		t = time.Now()
	}
	return t
}

// Stop ends a verification.
func (m *Metrics) Stop(start time.Time) {
	if start.IsZero() {
		return
	}
	took := time.Since(start)
	m.verify.Observe(took.Seconds())
	m.activity.verification(start, took)
}

// Revoked counts tokens that were revoked.
func (m *Metrics) Revoked(tokens int) { m.revocations.Add(float64(tokens)) }

// Login counts a login by its method and outcome. The error tells the outcome.
func (m *Metrics) Login(method string, err error) {
	outcome := "failed"
	switch status, _ := reply.Status(err); {
	case err == nil:
		outcome = "accepted"
	case status == http.StatusUnauthorized:
		outcome = "rejected"
	case status == http.StatusTooManyRequests:
		outcome = "throttled"
	case status < http.StatusInternalServerError:
		outcome = "refused"
	}
	m.logins.WithLabelValues(method, outcome).Inc()
}
