package server_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gatehouse/server/config"
	"gatehouse/server/manual"
	"gatehouse/storage/storagetest/must"
)

// TestExpressions: the alert rules and the dashboard ask only for metrics, labels and
// values that a server with everything in its configuration shows.
func TestExpressions(t *testing.T) {
	h := newFigureHouse(t, withTLS(t, "localhost"), func(c *config.Config) { c.Notify.Command = "/bin/cat" })
	h.serve()
	h.login(alice, password)
	h.ask("GET", verifyPath).token("x").send().want(http.StatusUnauthorized)
	series := map[string]map[string]map[string]bool{} // metric, label, values
	for name := range h.figures() {
		metric, labels, _ := strings.Cut(name, "{")
		if series[metric] == nil {
			series[metric] = map[string]map[string]bool{"instance": nil, "job": nil, "le": nil}
		}
		for _, m := range regexp.MustCompile(`([a-z_]+)="([^"]*)"`).FindAllStringSubmatch(labels, -1) {
			if series[metric][m[1]] == nil {
				series[metric][m[1]] = map[string]bool{}
			}
			series[metric][m[1]][m[2]] = true
		}
	}
	if series["gatehouse_certificate_not_after_timestamp_seconds"] == nil {
		t.Error("a server with a certificate does not say when it ends")
	}
	asked := map[string]bool{}
	for _, e := range expressions(t) {
		for _, fault := range faultsOf(e, series, asked) {
			t.Errorf("%s: %s", e, fault)
		}
	}
	for metric := range series {
		if strings.HasPrefix(metric, "gatehouse_") && !asked[metric] && !slices.Contains([]string{"gatehouse_table_loaded", "gatehouse_store_bytes"}, metric) {
			t.Errorf("neither the alerts nor the dashboard show %s", metric)
		}
	}
	for _, wrong := range []string{`gatehouse_redy == 0`, `sum by (root) (gatehouse_held)`, `gatehouse_tokens{stat="live"}`, `gatehouse_tokens{state="alive"}`, `rat(gatehouse_users[5m])`} {
		if faultsOf(wrong, series, asked) == nil {
			t.Errorf("%s is taken for right", wrong)
		}
	}
	for _, name := range manual.Attachments() {
		h.ask("GET", "/manual/"+name).send().want(http.StatusOK)
	}
}

// expressions returns those of the alert rules and of the dashboard.
func expressions(t *testing.T) (list []string) {
	rules, _ := manual.Attachment("alerts.yml")
	for _, m := range regexp.MustCompile(`(?m)^ *expr: (.+)$`).FindAllSubmatch(rules, -1) {
		list = append(list, string(m[1]))
	}
	if alerts := strings.Count(string(rules), "- alert: "); len(list) != alerts || alerts < 10 {
		t.Errorf("found %d expressions of %d alerts", len(list), alerts)
	}
	dashboard, _ := manual.Attachment("dashboard.json")
	var v struct {
		Panels []struct {
			Targets []struct{ Expr string }
		}
	}
	must.Do(t, json.Unmarshal(dashboard, &v))
	for _, p := range v.Panels {
		if len(p.Targets) == 0 {
			t.Error("a panel shows nothing")
		}
		for _, target := range p.Targets {
			list = append(list, target.Expr)
		}
	}
	return list
}

// faultsOf returns the names in an expression that do not exist. It notes the metrics
// that it asks for.
func faultsOf(expr string, series map[string]map[string]map[string]bool, asked map[string]bool) (list []string) {
	words := []string{"sum", "min", "max", "by", "or", "and", "time", "rate", "increase", "deriv", "histogram_quantile"}
	labels := map[string]bool{}
	rest := regexp.MustCompile(`([a-zA-Z_:]+)(\{[^}]*\})?(\[[^\]]*\])?`)
	grouped := regexp.MustCompile(`by \(([^)]*)\)`)
	for _, m := range rest.FindAllStringSubmatch(grouped.ReplaceAllString(expr, ""), -1) {
		name := m[1]
		if slices.Contains(words, name) || name == "up" {
			continue
		}
		name = regexp.MustCompile(`_bucket$`).ReplaceAllString(name, "")
		known, ok := series[name]
		if !ok {
			list = append(list, "there is no metric "+name)
			continue
		}
		asked[name] = true
		for label := range known {
			labels[label] = true
		}
		for _, l := range regexp.MustCompile(`([a-z_]+)(!?=~?)"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			values, ok := known[l[1]]
			// A server that makes no mistakes has no status 5xx.
			if value := l[3]; !ok || l[2] == "=" && values != nil && !values[value] && value != "5xx" {
				list = append(list, name+" has no "+l[0])
			}
		}
	}
	for _, m := range grouped.FindAllStringSubmatch(expr, -1) {
		for label := range strings.SplitSeq(m[1], ", ") {
			if !labels[label] {
				list = append(list, "nothing has the label "+label)
			}
		}
	}
	return list
}
