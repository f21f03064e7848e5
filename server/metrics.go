package server

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"gatehouse/server/listen"
	"gatehouse/server/reply"
	"gatehouse/server/route"
	"gatehouse/storage"
)

// metrics are the figures for Prometheus. Anybody who reaches the port may read them,
// so there is no user, token or address in them, and no label has text that a client
// can choose.
type metrics struct {
	registry    *prometheus.Registry
	scrape      http.Handler
	requests    *prometheus.CounterVec   // route, class
	refused     *prometheus.CounterVec   // route
	logins      *prometheus.CounterVec   // method, outcome
	seconds     *prometheus.HistogramVec // class of route
	verify      stopwatch
	revocations prometheus.Counter

	mu      sync.Mutex
	counted []prometheus.Counter // those in requests, for activity to sum up
	turned  atomic.Int64         // requests turned away with 401, 403 or 429
}

func newMetrics(store *storage.Store, a *activity, open *listen.Connections) *metrics {
	m := &metrics{
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
		verify: stopwatch{activity: a, seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "gatehouse_verify_seconds", Help: fmt.Sprintf("How long /api/verify took within the server, of one in %d; gatehouse_requests_total counts all.", sampled),
			Buckets: []float64{5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 1e-2, 0.1, 1},
		})},
		revocations: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gatehouse_revocations_total", Help: "Tokens revoked by a request, a command or the policy; not those of removed users.",
		}),
	}
	m.registry.MustRegister(m.requests, m.refused, m.logins, m.seconds, m.verify.seconds, m.revocations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.gauge("gatehouse_users", "Users who are not removed.", func() float64 { return float64(store.UserCount()) })
	m.gauge("gatehouse_tokens", "Tokens that are not revoked.", func() float64 { return float64(store.TokenCount()) })
	m.gauge("gatehouse_journal_last_sequence", "The last durable record of the audit log.", func() float64 { return float64(store.Audit().Last()) })
	m.gauge("gatehouse_store_bytes", "What the store takes on the disk.", func() float64 { return float64(store.Size()) })
	m.gauge("gatehouse_ready", "1 while changes are taken.", func() float64 { return truth(store.IsOpen() && store.Writable() == nil) })
	m.gauge("gatehouse_disk_short", "1 while the disk is too full for changes.", func() float64 { return truth(errors.Is(store.Writable(), storage.ErrNoSpace)) })
	m.gauge("gatehouse_table_loaded", "1 when a verification needs no look at the disk: some time after the start.", func() float64 { return truth(closed(store.Loaded())) })
	m.gauge("gatehouse_connections", "Open connections.", func() float64 { n, _ := open.Figures(); return float64(n) })
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "gatehouse_connections_turned_away_total", Help: "Connections closed or refused because there were too many; see [limits].",
	}, func() float64 { _, n := open.Figures(); return float64(n) }))
	m.scrape = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// held adds what waits for an administrator to confirm it. The labels are all there from
// the start, so that an alarm can tell nothing held from nothing known.
func (m *metrics) held(s *Server) {
	for act, count := range map[string]func() int{
		"offboarding": func() int {
			if s.latest.Load().directory == nil {
				return 0
			}
			return s.latest.Load().directory.Holding()
		},
		"revoke idle tokens": s.idle.Holding,
		"drop old events":    func() int { n, _, _ := s.store.HeldEvents(); return n },
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gatehouse_held", Help: "Users, tokens or events that wait for an administrator to confirm what would be done to them; see gatehouse user offboard.",
			ConstLabels: prometheus.Labels{"act": act},
		}, func() float64 { return float64(count()) }))
	}
	m.gauge("gatehouse_clock_in_doubt", "1 while the clock of the host is not believed, and nothing is done because of an age.", func() float64 { _, doubt := s.store.Now(); return truth(doubt != nil) })
}

func (m *metrics) gauge(name, help string, value func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// scrape serves GET /metrics.
func (s *Server) scrape(w http.ResponseWriter, r *route.Request) error {
	s.metrics.scrape.ServeHTTP(w, r.Request)
	return nil
}

// routeCount holds the counters of a route, so that no request has to look them up.
type routeCount struct {
	classes [6]prometheus.Counter
	refused prometheus.Counter // nil where no credential is asked for
	turned  *atomic.Int64
	seconds prometheus.Observer // nil for the gate, which has a histogram of its own, and where there is no route
}

// noRoute is the label for requests that no route serves.
const noRoute = "none"

func (m *metrics) route(rt route.Route) (c routeCount) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for class := range c.classes {
		c.classes[class] = m.requests.WithLabelValues(rt.Pattern, strconv.Itoa(class)+"xx")
		if !slices.Contains(m.counted, c.classes[class]) { // the port and the socket share a counter
			m.counted = append(m.counted, c.classes[class])
		}
	}
	c.turned = &m.turned
	if rt.Who != route.Nobody {
		c.refused = m.refused.WithLabelValues(rt.Pattern)
	}
	if rt.Class != "" && rt.Class != route.Gate {
		c.seconds = m.seconds.WithLabelValues(string(rt.Class))
	}
	return c
}

func (c *routeCount) add(status int) {
	c.classes[min(max(status/100, 0), len(c.classes)-1)].Inc()
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		c.turned.Add(1)
	}
	if status == http.StatusUnauthorized && c.refused != nil {
		c.refused.Inc()
	}
}

// took notes how long a request took.
func (c *routeCount) took(d time.Duration) {
	if c.seconds != nil {
		c.seconds.Observe(d.Seconds())
	}
}

// stopwatch measures how long verifications take, but only one in sampled of them:
// reading the clock twice takes a good part of the time that a verification does.
type stopwatch struct {
	n        atomic.Uint64
	seconds  prometheus.Histogram
	activity *activity
}

const sampled = 16

// start returns the zero time for verifications that are not measured.
func (s *stopwatch) start() (t time.Time) {
	if s.n.Add(1)%sampled == 1 {
		t = time.Now()
	}
	return t
}

func (s *stopwatch) stop(start time.Time) {
	if start.IsZero() {
		return
	}
	took := time.Since(start)
	s.seconds.Observe(took.Seconds())
	s.activity.verification(start, took)
}

// login counts a login by its method and outcome. The error tells the outcome.
func (m *metrics) login(method string, err error) {
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

// statusWriter keeps the status of a reply.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
