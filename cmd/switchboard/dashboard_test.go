package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// metric is what a process has of a metric.
type metric struct {
	labels  []string
	buckets bool // a histogram
}

// TestDashboard holds the dashboard of relays against the metrics of a process that is
// one: it asks for none that there is not, and shows all there are of relays, above all
// those that relay/README.md tells operators to watch.
func TestDashboard(t *testing.T) {
	exist := relayMetrics(t)
	shown := map[string]bool{}
	for _, e := range dashboard(t) {
		for name, labels := range selectors(t, e) {
			m, base := exist[name], name
			for _, suffix := range []string{"_bucket", "_sum", "_count"} {
				if cut, ok := strings.CutSuffix(name, suffix); ok && m == nil && exist[cut] != nil && exist[cut].buckets {
					base, m = cut, exist[cut]
				}
			}
			if m == nil {
				t.Errorf("%s is shown, and is no metric: %s", name, e)
				continue
			}
			shown[base] = true
			for _, l := range labels {
				if !slices.Contains(m.labels, l) {
					t.Errorf("%s has no label %s: %s", name, l, e)
				}
			}
		}
	}
	for name := range exist {
		if strings.HasPrefix(name, "switchboard_relay_") && !shown[name] {
			t.Errorf("%s is not shown", name)
		}
	}
	for _, name := range watched(t) {
		if !shown["switchboard_relay_"+name] {
			t.Errorf("relay/README.md says to watch %s, which is not shown", name)
		}
	}
}

// scraped are the labels that Prometheus gives each series, as relay/README.md has it.
var scraped = []string{"job", "instance", "region", "node"}

// relayMetrics are the metrics of a process that has both roles, and what Prometheus adds.
func relayMetrics(t *testing.T) map[string]*metric {
	t.Helper()
	n := testNode(t, "")
	start(t, n)
	families, err := n.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]*metric{
		"up": {labels: scraped},
		// A kernel that does not count them leaves them out.
		"switchboard_relay_kernel_drops_total":    {labels: append([]string{"reason"}, scraped...)},
		"switchboard_relay_kernel_squeezed_total": {labels: scraped},
	}
	for _, f := range families {
		kind := f.GetType()
		m := &metric{labels: slices.Clone(scraped), buckets: kind == dto.MetricType_HISTOGRAM || kind == dto.MetricType_SUMMARY}
		if m.buckets {
			m.labels = append(m.labels, "le")
		}
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				m.labels = append(m.labels, l.GetName())
			}
		}
		exist[f.GetName()] = m
	}
	return exist
}

// dashboard returns all that the dashboard asks Prometheus for.
func dashboard(t *testing.T) (expressions []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(configs, "grafana", "relays.json"))
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Templating struct {
			List []struct{ Name, Definition string }
		}
		Panels []struct {
			ID      int
			Type    string
			Title   string
			GridPos struct{ H, W, X, Y int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	for _, v := range board.Templating.List {
		if v.Definition != "" {
			expressions = append(expressions, v.Definition)
		}
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%s asks for %d things", p.Title, len(p.Targets))
		}
		for _, target := range p.Targets {
			expressions = append(expressions, target.Expr)
		}
	}
	if len(expressions) < 20 {
		t.Fatalf("the dashboard was not understood: %q", expressions)
	}
	return expressions
}

var (
	quoted   = regexp.MustCompile(`"[^"]*"`)
	listed   = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	variable = regexp.MustCompile(`label_values\((.*), (\w+)\)`)
	selector = regexp.MustCompile(`\b((?:switchboard|process|go|promhttp)_\w+|up)\b(?:{([^}]*)})?`)
	unknown  = regexp.MustCompile(`\b([a-z]\w*_\w+)\b`)
)

// selectors returns the metrics that an expression names, each with the labels that are
// asked of it: in its braces, and wherever the expression joins or adds series.
func selectors(t *testing.T, expression string) map[string][]string {
	t.Helper()
	e := quoted.ReplaceAllString(expression, "")
	var all []string
	if m := variable.FindStringSubmatch(e); m != nil {
		e, all = m[1], []string{m[2]}
	}
	for _, m := range listed.FindAllStringSubmatch(e, -1) {
		all = append(all, strings.Split(m[1], ", ")...)
	}
	e = listed.ReplaceAllString(e, "")
	found := map[string][]string{}
	for _, m := range selector.FindAllStringSubmatch(e, -1) {
		labels := slices.Clone(all)
		for l := range strings.SplitSeq(m[2], ",") {
			if name, _, ok := strings.Cut(l, "=~"); ok {
				labels = append(labels, name)
			} else if l != "" {
				t.Errorf("%q is no label with a pattern: %s", l, expression)
			}
		}
		found[m[1]] = append(found[m[1]], labels...)
	}
	for _, m := range unknown.FindAllString(selector.ReplaceAllString(e, ""), -1) {
		if m != "histogram_quantile" && m != "__rate_interval" {
			t.Errorf("what is %s in %s?", m, expression)
		}
	}
	if len(found) == 0 {
		t.Errorf("no metric in %s", expression)
	}
	return found
}

// watched are the metrics of relays in the table of relay/README.md, without what they
// all begin with.
func watched(t *testing.T) (names []string) {
	t.Helper()
	b, err := os.ReadFile("../../relay/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "| metric | watch for |")
	table, _, _ = strings.Cut(table, "\n\n")
	name := regexp.MustCompile("`(\\w+)(?:{\\w+})?`")
	for row := range strings.Lines(table) {
		if cells := strings.Split(row, "|"); len(cells) > 2 && !strings.Contains(cells[1], "kernel's") {
			for _, m := range name.FindAllStringSubmatch(cells[1], -1) {
				names = append(names, m[1])
			}
		}
	}
	if len(names) < 10 {
		t.Fatalf("the table was not understood: %q", names)
	}
	return names
}
