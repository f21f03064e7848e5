package metrics

import (
	"errors"
	"runtime"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/server/api"
	"gatehouse/server/directory"
	"gatehouse/server/listen"
	"gatehouse/server/notify"
	"gatehouse/server/oauth"
	"gatehouse/server/recheck"
	"gatehouse/storage"
)

// Sources are what the figures are read from. A reload may change what the functions
// return.
type Sources struct {
	Store       *storage.Store
	Version     string
	Connections *listen.Connections
	Idle        *directory.Idle
	Certificate func() (notAfter time.Time, on bool)
	People      func() *directory.People // nil: LDAP is not configured
	Providers   func() map[string]*oauth.Provider
	Recheck     func() *recheck.All
	Notices     func() map[string]notify.Figures // by target
	Told        *notify.Count
	Holding     func() (users int, can bool) // changes of users that are held, and whether anything can hold some
}

// state reads how things stand, at each scrape.
type state struct {
	from   Sources
	tokens tally
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	buildInfo = desc("gatehouse_build_info", "Always 1; the labels say what was built, and with which Go.", "version", "goversion")

	ready       = desc("gatehouse_ready", "1 while changes are taken.")
	diskShort   = desc("gatehouse_disk_short", "1 while the disk is too full for changes.")
	tableLoaded = desc("gatehouse_table_loaded", "1 when verifications no longer need the disk, some time after the start.")
	clockDoubt  = desc("gatehouse_clock_in_doubt", "1 while the host's clock is in doubt, and nothing is revoked or dropped because of its age.")

	users        = desc("gatehouse_users", "Users who are not removed.")
	services     = desc("gatehouse_service_accounts", "Service accounts; they count as users too.")
	orphaned     = desc("gatehouse_service_accounts_orphaned", "Service accounts that nobody owns.")
	tokens       = desc("gatehouse_tokens", "Tokens by state; of the revoked ones, those that are still recorded.", "state")
	tokensEnding = desc("gatehouse_tokens_ending", "Live tokens that end within this time from now.", "within")
	held         = desc("gatehouse_held", "Users, tokens or events that wait for an administrator to confirm what would be done to them; see gatehouse user offboard.", "act")

	journalLast  = desc("gatehouse_journal_last_sequence", "The last durable record of the audit log.")
	journalBytes = desc("gatehouse_journal_bytes", "What the audit log takes on the disk.")
	indexBytes   = desc("gatehouse_index_bytes", "What the index takes on the disk.")
	storeBytes   = desc("gatehouse_store_bytes", "What the store takes on the disk: audit log and index.")
	diskFree     = desc("gatehouse_disk_free_bytes", "What the file system has left for the store.")
	backupAt     = desc("gatehouse_backup_timestamp_seconds", "When the last backup was made; missing: never.")
	backupDue    = desc("gatehouse_backup_overdue", "1 while no backup was made for two days.")

	noticesLeft    = desc("gatehouse_notices_pending", "Notices that a target has not taken yet.", "target")
	noticesFailing = desc("gatehouse_notices_failing", "1 while a target does not take notices.", "target")
	noticesSent    = desc("gatehouse_notices_total", "Attempts to deliver notices, and how they ended.", "target", "outcome")

	connections = desc("gatehouse_connections", "Open connections.")
	turnedAway  = desc("gatehouse_connections_turned_away_total", "Connections closed or refused because there were too many; see [limits].")
	certificate = desc("gatehouse_certificate_not_after_timestamp_seconds", "When the server's own certificate ends; missing: it has none.")

	directoryUp      = desc("gatehouse_directory_up", "1 if the last use of a server of the directory went well; by its place in [ldap] urls.", "server")
	directorySuccess = desc("gatehouse_directory_success_timestamp_seconds", "When a server of the directory last did what it was asked.", "server")
	providerUp       = desc("gatehouse_provider_up", "1 if the last login at a provider was decided.", "provider")
	providerSuccess  = desc("gatehouse_provider_success_timestamp_seconds", "When a provider last decided a login.", "provider")
	recheckAt        = desc("gatehouse_recheck_timestamp_seconds", "When the last sweep of a provider's users ended.", "provider")
	unverified       = desc("gatehouse_recheck_unverified", "Users whom a provider could not be asked about at the last sweep, and who are suspended when recheck_grace ends.", "provider")
	sweepAt          = desc("gatehouse_sweep_timestamp_seconds", "When the last off-boarding sweep of the directory ended.")
	sweepDoubt       = desc("gatehouse_sweep_in_doubt", "1 if the last sweep could not tell what became of everybody.")
)

// Describe implements [prometheus.Collector].
func (s *state) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		buildInfo, ready, diskShort, tableLoaded, clockDoubt, users, services, orphaned, tokens, tokensEnding, held,
		journalLast, journalBytes, indexBytes, storeBytes, diskFree, backupAt, backupDue, noticesLeft, noticesFailing, noticesSent,
		connections, turnedAway, certificate, directoryUp, directorySuccess, providerUp, providerSuccess, recheckAt, unverified, sweepAt, sweepDoubt,
	} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (s *state) Collect(to chan<- prometheus.Metric) {
	g := gauges(to)
	g.set(buildInfo, 1, s.from.Version, runtime.Version())
	s.collectStore(g)
	s.collectTokens(g)
	s.collectDirectory(g)
	for name, p := range s.from.Providers() {
		st := p.Status()
		g.health(providerUp, providerSuccess, name, st.Reachable, st.LastSuccess, st.LastFailure)
	}
	s.collectNotices(to)
	open, turned := s.from.Connections.Figures()
	g.set(connections, float64(open))
	to <- prometheus.MustNewConstMetric(turnedAway, prometheus.CounterValue, float64(turned))
	if notAfter, on := s.from.Certificate(); on {
		g.at(certificate, notAfter)
	}
}

func (s *state) collectStore(g gauges) {
	store := s.from.Store
	space, err := store.Space(), store.Writable()
	g.set(ready, truth(store.IsOpen() && err == nil))
	g.set(diskShort, truth(errors.Is(err, storage.ErrNoSpace)))
	select {
	case <-store.Loaded():
		g.set(tableLoaded, 1)
	default:
		g.set(tableLoaded, 0)
	}
	_, doubt := store.Now()
	g.set(clockDoubt, truth(doubt != nil))
	g.set(users, float64(store.UserCount()))
	g.set(journalLast, float64(store.Audit().Last()))
	g.set(journalBytes, float64(space.Journal))
	g.set(indexBytes, float64(space.Index))
	g.set(storeBytes, float64(space.Journal+space.Index))
	g.set(diskFree, float64(space.Free))
	ms, age := store.LastBackup()
	if ms != 0 {
		g.at(backupAt, time.UnixMilli(ms))
	}
	g.set(backupDue, truth(age > api.BackupWithin))
	events, _, _ := store.HeldEvents()
	g.set(held, float64(events), "drop old events")
	if s.from.Idle.On() {
		g.set(held, float64(s.from.Idle.Holding()), "revoke idle tokens")
	}
}

func (s *state) collectNotices(to chan<- prometheus.Metric) {
	told := s.from.Told.Outcomes()
	for name, f := range s.from.Notices() {
		gauges(to).set(noticesLeft, float64(f.Pending), name)
		gauges(to).set(noticesFailing, truth(f.Failing), name)
		for _, outcome := range notify.Outcomes { // also those that did not occur, so that the first one is seen
			told[notify.Outcome{Target: name, Outcome: outcome}] += 0
		}
	}
	for one, n := range told {
		to <- prometheus.MustNewConstMetric(noticesSent, prometheus.CounterValue, float64(n), one.Target, one.Outcome)
	}
}

func (s *state) collectTokens(g gauges) {
	if !s.from.Store.IsOpen() {
		return // a scrape must not wait
	}
	if all, without, err := s.from.Store.CountServices(); err == nil {
		g.set(services, float64(all))
		g.set(orphaned, float64(without))
	}
	c := s.tokens.get()
	if c == nil {
		return
	}
	g.set(tokens, float64(c.Live), "live")
	g.set(tokens, float64(c.Expired), "expired")
	g.set(tokens, float64(c.Suspended), "suspended")
	g.set(tokens, float64(c.Revoked), "revoked")
	for i, e := range ending {
		g.set(tokensEnding, float64(c.Ending[i]), e.label)
	}
}

func (s *state) collectDirectory(g gauges) {
	people, providers := s.from.People(), s.from.Recheck()
	for name := range providers.People {
		f, _ := providers.Figures(name)
		g.set(unverified, float64(f.Unverified), name)
		if !f.Swept.IsZero() {
			g.at(recheckAt, f.Swept, name)
		}
	}
	if n, can := s.from.Holding(); can {
		g.set(held, float64(n), "offboarding")
	}
	if people == nil {
		return
	}
	for i, one := range people.Servers() {
		g.health(directoryUp, directorySuccess, strconv.Itoa(i+1), one.Reachable, one.LastSuccess, one.LastFailure)
	}
	if at := people.LastSweep(); people.Every > 0 && !at.IsZero() {
		g.at(sweepAt, at)
		g.set(sweepDoubt, truth(people.InDoubt()))
	}
}

// gauges takes figures that go up and down.
type gauges chan<- prometheus.Metric

func (g gauges) set(d *prometheus.Desc, value float64, labels ...string) {
	g <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
}

func (g gauges) at(d *prometheus.Desc, when time.Time, labels ...string) {
	g.set(d, float64(when.UnixMilli())/1000, labels...)
}

// health shows whether a directory or a provider has answered. Until it was asked, there is
// nothing to show.
func (g gauges) health(up, success *prometheus.Desc, name string, reachable bool, good, bad time.Time) {
	if good.IsZero() && bad.IsZero() {
		return
	}
	g.set(up, truth(reachable), name)
	if !good.IsZero() {
		g.at(success, good, name)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
