package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// run is a report of some calls of the scenario s.
func run(calls ...Call) *Report {
	for i := range calls {
		c := &calls[i]
		if c.Scenario == "" {
			c.Scenario = "s"
		}
		c.Engine, c.Client = "virtual", "softphone"
	}
	return &Report{Engine: "virtual", Client: "softphone", Calls: calls}
}

func TestCompare(t *testing.T) {

	base := Call{Case: "c", Path: "direct", Connect: 400 * ms, Gap: 40 * ms}
	with := func(set func(*Call)) Call {
		c := base
		set(&c)
		return c
	}
	failed := []string{"a failure"}
	tests := []struct {
		name          string
		before, after []Call
		want          Comparison
	}{
		{"as it was", []Call{base}, []Call{base}, Comparison{Same: 1}},
		{"slower within the margin", []Call{base}, []Call{with(func(c *Call) { c.Connect = 900 * ms })}, Comparison{Same: 1}},
		{"slower", []Call{base}, []Call{with(func(c *Call) { c.Connect = 901 * ms })},
			Comparison{Worse: []Change{{"s: c", "connected after 901 ms, was 400 ms"}}}},
		{"slower by half of what is long", []Call{with(func(c *Call) { c.Gap = 8000 * ms })}, []Call{with(func(c *Call) { c.Gap = 12_001 * ms })},
			Comparison{Worse: []Change{{"s: c", "longest gap 12.0 s, was 8.00 s"}}}},
		{"faster", []Call{with(func(c *Call) { c.Gap = 8000 * ms })}, []Call{with(func(c *Call) { c.Gap = 3000 * ms })},
			Comparison{Better: []Change{{"s: c", "longest gap 3.00 s, was 8.00 s"}}}},
		{"a worse path", []Call{base}, []Call{with(func(c *Call) { c.Path = "relay/udp" })},
			Comparison{Worse: []Change{{"s: c", "path relay/udp, was direct"}}}},
		{"a better path", []Call{base}, []Call{with(func(c *Call) { c.Path = "host" })},
			Comparison{Better: []Change{{"s: c", "path host, was direct"}}}},
		{"a worse path at the end", []Call{base}, []Call{with(func(c *Call) { c.After = "relay/tls" })},
			Comparison{Worse: []Change{{"s: c", "path at the end relay/tls, was direct"}}}},
		{"fails now", []Call{base}, []Call{with(func(c *Call) { c.Failures = failed })},
			Comparison{Worse: []Change{{"s: c", "not as expected, was as expected"}}}},
		{"fails as before", []Call{with(func(c *Call) { c.Failures = failed })}, []Call{with(func(c *Call) { c.Failures = failed })}, Comparison{Same: 1}},
		{"fails no more", []Call{with(func(c *Call) { c.Failures = failed })}, []Call{base},
			Comparison{Better: []Change{{"s: c", "as expected, was not as expected"}}}},
		{"new", nil, []Call{base}, Comparison{New: []string{"s: c"}}},
		{"not placed", []Call{base}, []Call{with(func(c *Call) { c.Skipped = "no root" })}, Comparison{Missing: []string{"s: c"}}},
		{"of a scenario that did not run", []Call{base}, []Call{with(func(c *Call) { c.Scenario = "t" })}, Comparison{New: []string{"t: c"}}},
		{"one slow call of three", []Call{base}, []Call{base, with(func(c *Call) { c.Connect = 9000 * ms }), base}, Comparison{Same: 1}},
		{"one bad path of three", []Call{base}, []Call{base, with(func(c *Call) { c.Path, c.After = "none", "none" }), base},
			Comparison{Worse: []Change{{"s: c", "path none, was direct"}}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var file bytes.Buffer
			if err := NewBaseline(run(test.before...)).Write(&file); err != nil {
				t.Fatal(err)
			}
			b, err := ReadBaseline(&file)
			if err != nil {
				t.Fatal(err)
			}
			test.want.File, test.want.Margin = "f", DefaultMargin
			if diff := cmp.Diff(&test.want, b.Compare(run(test.after...), "f", DefaultMargin)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestReadBaseline(t *testing.T) {
	const ok = `{"scenario":"s","engine":"virtual","client":"softphone","path":"direct","after":"direct"}`
	for name, test := range map[string]struct{ text, want string }{
		"nothing":      {"", "no baseline: EOF"},
		"other text":   {"direct", "no baseline: invalid"},
		"a report":     {`{"version":7}`, "no baseline of version 1, but 7"},
		"no path":      {`{"version":1,"cases":[{"scenario":"s","after":"direct"}]}`, `case "s": it has no known path`},
		"a case twice": {`{"version":1,"cases":[` + ok + `,` + ok + `]}`, `case "s" is there twice`},
	} {
		if _, err := ReadBaseline(strings.NewReader(test.text)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", name, err, test.want)
		}
	}
}

func TestParseMargin(t *testing.T) {
	for text, want := range map[string]float64{"50%": 0.5, "0.5": 0.5, "0": 0, "150%": 1.5} {
		if got, err := ParseMargin(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "wide", "-1", "50%%", "5 %x", "NaN", "Inf"} {
		if got, err := ParseMargin(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}
