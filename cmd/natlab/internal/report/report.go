package report

import (
	"encoding/json"
	"io"
	"slices"
	"time"

	"switchboard/cmd/natlab/internal/theory"
)

// Version is that of the JSON's schema. It changes when a field is taken away or
// means something else, not when one is added.
const Version = 1

// Report is a run. Its JSON is what README.md describes.
type Report struct {
	Version int    `json:"version"`
	Program string `json:"program"` // natlab's version
	Engine  string `json:"engine"`
	Client  string `json:"client"`
	Seed    uint64 `json:"seed"`   // of the first call of each case
	Repeat  int    `json:"repeat"` // calls of each case
	// DataPath is by what all relays were told to relay; "" is what scenarios say.
	DataPath string    `json:"data_path,omitempty"`
	Began    time.Time `json:"began"`
	// Took is the wall time of all of it.
	Took time.Duration `json:"took_ns"`
	// Interrupted is whether it was ended before all calls were placed; Planned is how many
	// there would have been.
	Interrupted bool        `json:"interrupted,omitempty"`
	Planned     int         `json:"planned"`
	Totals      Totals      `json:"totals"`
	Calls       []Call      `json:"calls"` // in the order of the scenarios, and of their cases
	Baseline    *Comparison `json:"baseline,omitempty"`

	// About has what the scenarios say of themselves, by name.
	About map[string]string `json:"about,omitempty"`
}

// Totals counts calls.
type Totals struct {
	Passed  int `json:"passed"`
	Failed  int `json:"failed"`
	Skipped int `json:"skipped"`
	Broken  int `json:"broken"`
}

// Outcome is what a call counts as.
type Outcome string

// The outcomes.
const (
	Passed  Outcome = "passed"
	Failed  Outcome = "failed"
	Skipped Outcome = "skipped"
	Broken  Outcome = "broken" // the lab did not work
)

// Outcome is what the call counts as.
func (c Call) Outcome() Outcome {
	switch {
	case c.Broken != "":
		return Broken
	case c.Skipped != "":
		return Skipped
	case len(c.Failures) > 0:
		return Failed
	}
	return Passed
}

// Name is the scenario and the case.
func (c Call) Name() string {
	if c.Case == "" {
		return c.Scenario
	}
	return c.Scenario + ": " + c.Case
}

// Count fills in Totals.
func (r *Report) Count() {
	r.Totals = Totals{}
	for _, c := range r.Calls {
		switch c.Outcome() {
		case Passed:
			r.Totals.Passed++
		case Failed:
			r.Totals.Failed++
		case Skipped:
			r.Totals.Skipped++
		case Broken:
			r.Totals.Broken++
		}
	}
}

// WriteJSON writes all of it.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// group is the calls of one scenario.
type group struct {
	scenario string
	cells    []cell
}

// cell is the calls of one case, with different seeds.
type cell struct {
	scenario, name string
	caller, callee string
	calls          []Call
}

// groups has the calls in their order.
func (r *Report) groups() []group {
	var list []group
	for _, c := range r.Calls {
		if len(list) == 0 || list[len(list)-1].scenario != c.Scenario {
			list = append(list, group{scenario: c.Scenario})
		}
		g := &list[len(list)-1]
		if len(g.cells) == 0 || g.cells[len(g.cells)-1].name != c.Case {
			g.cells = append(g.cells, cell{scenario: c.Scenario, name: c.Case, caller: c.Caller, callee: c.Callee})
		}
		x := &g.cells[len(g.cells)-1]
		x.calls = append(x.calls, c)
	}
	return list
}

// isMatrix is whether a group is better shown as a matrix than as a list.
func (g group) isMatrix() bool {
	callers, callees := g.axes()
	return len(g.cells) >= 9 && 2*len(g.cells) > len(callers)*len(callees)
}

// axes are the accesses of callers and callees, in the order of their calls.
func (g group) axes() (callers, callees []string) {
	for _, c := range g.cells {
		if c.caller != "" && !slices.Contains(callers, c.caller) {
			callers = append(callers, c.caller)
		}
		if c.callee != "" && !slices.Contains(callees, c.callee) {
			callees = append(callees, c.callee)
		}
	}
	return callers, callees
}

func (g group) cell(caller, callee string) (cell, bool) {
	i := slices.IndexFunc(g.cells, func(c cell) bool { return c.caller == caller && c.callee == callee })
	if i < 0 {
		return cell{}, false
	}
	return g.cells[i], true
}

func (g group) calls() int {
	n := 0
	for _, c := range g.cells {
		n += len(c.calls)
	}
	return n
}

// outcome is the worst of the calls: one that failed, one that the lab broke, one that passed.
func (c cell) outcome() Outcome {
	for _, o := range []Outcome{Failed, Broken, Passed} {
		if slices.ContainsFunc(c.calls, func(x Call) bool { return x.Outcome() == o }) {
			return o
		}
	}
	return Skipped
}

// shown is the call that stands for all: the first of the worst outcome.
func (c cell) shown() Call {
	i := slices.IndexFunc(c.calls, func(x Call) bool { return x.Outcome() == c.outcome() })
	return c.calls[i]
}

// placed are the calls that were seen through.
func (c cell) placed() []Call {
	return slices.DeleteFunc(slices.Clone(c.calls), func(x Call) bool { return x.Outcome() == Skipped || x.Outcome() == Broken })
}

func (c cell) passed() int {
	n := 0
	for _, x := range c.calls {
		if x.Outcome() == Passed {
			n++
		}
	}
	return n
}

// worstPath is that of the calls; also of what they came to after events.
func (c cell) worstPath() (path, after theory.Path) {
	path, after = theory.Host, theory.Host
	for _, x := range c.placed() {
		path = theory.Worst(path, theory.Path(x.Path))
		after = theory.Worst(after, theory.Path(x.after()))
	}
	return path, after
}

func (c Call) after() string {
	if c.After == "" {
		return c.Path
	}
	return c.After
}

func (c cell) slowest() time.Duration {
	var d time.Duration
	for _, x := range c.placed() {
		d = max(d, x.Connect)
	}
	return d
}

func (c cell) longestGap() time.Duration {
	var d time.Duration
	for _, x := range c.placed() {
		d = max(d, x.Gap)
	}
	return d
}
