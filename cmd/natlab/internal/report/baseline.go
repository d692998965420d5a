package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"switchboard/cmd/natlab/internal/theory"
)

// BaselineVersion is that of the file's schema.
const BaselineVersion = 1

// Baseline is how the calls of an earlier run went, to compare with.
type Baseline struct {
	Version int        `json:"version"`
	Program string     `json:"program"`
	Cases   []Standing `json:"cases"`
}

// Standing is how a case stood. With several calls, paths are the worst and times the median.
type Standing struct {
	Scenario string        `json:"scenario"`
	Case     string        `json:"case,omitempty"`
	Engine   string        `json:"engine"`
	Client   string        `json:"client"`
	Calls    int           `json:"calls"`
	Failed   bool          `json:"failed,omitempty"` // any of them
	Path     theory.Path   `json:"path"`
	After    theory.Path   `json:"after"`
	Connect  time.Duration `json:"connect_ns"`
	Gap      time.Duration `json:"gap_ns"`
}

type standingKey struct{ scenario, name, engine, client string }

func (s Standing) key() standingKey { return standingKey{s.Scenario, s.Case, s.Engine, s.Client} }

// Name is the scenario and the case.
func (s Standing) Name() string { return Call{Scenario: s.Scenario, Case: s.Case}.Name() }

// NewBaseline is of the calls of a run that were seen through.
func NewBaseline(r *Report) Baseline {
	b := Baseline{Version: BaselineVersion, Program: r.Program, Cases: []Standing{}}
	for _, g := range r.groups() {
		for _, c := range g.cells {
			if s, ok := c.standing(); ok {
				b.Cases = append(b.Cases, s)
			}
		}
	}
	return b
}

func (c cell) standing() (Standing, bool) {
	placed := c.placed()
	if len(placed) == 0 {
		return Standing{}, false
	}
	x := placed[0]
	s := Standing{Scenario: x.Scenario, Case: x.Case, Engine: x.Engine, Client: x.Client, Calls: len(placed), Failed: c.outcome() == Failed}
	s.Path, s.After = c.worstPath()
	s.Connect = median(placed, func(x Call) time.Duration { return x.Connect })
	s.Gap = median(placed, func(x Call) time.Duration { return x.Gap })
	return s, true
}

func median(calls []Call, of func(Call) time.Duration) time.Duration {
	var list []time.Duration
	for _, c := range calls {
		list = append(list, of(c))
	}
	slices.Sort(list)
	return list[len(list)/2]
}

// Write writes the file.
func (b Baseline) Write(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(b)
}

// ReadBaseline reads what Write wrote.
func ReadBaseline(r io.Reader) (Baseline, error) {
	var b Baseline
	d := json.NewDecoder(r)
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("this is no baseline: %w", err)
	}
	if b.Version != BaselineVersion {
		return b, fmt.Errorf("this is no baseline of version %d, but %d", BaselineVersion, b.Version)
	}
	if b.Cases == nil { // Write always has them: this is a report, or something else
		return b, errors.New("this is no baseline: it has no cases; --write-baseline makes one, --json does not")
	}
	seen := map[standingKey]bool{}
	for _, s := range b.Cases {
		if s.Scenario == "" || !s.Path.Known() || !s.After.Known() {
			return b, fmt.Errorf("case %q: it has no known path", s.Name())
		}
		if seen[s.key()] {
			return b, fmt.Errorf("case %q is there twice", s.Name())
		}
		seen[s.key()] = true
	}
	return b, nil
}

// Margin is by how much a time may grow: by a share of what it was, and by at least some
// time, since what is short doubles by chance.
type Margin struct {
	Share float64       `json:"share"`
	Least time.Duration `json:"least_ns"`
}

// DefaultMargin is the margin where none is set.
var DefaultMargin = Margin{Share: 0.5, Least: 500 * time.Millisecond}

// exceeded is whether now is slower than before by more than the margin.
func (m Margin) exceeded(before, now time.Duration) bool {
	return now-before > max(m.Least, time.Duration(m.Share*float64(before)))
}

// Comparison is a run beside a baseline.
type Comparison struct {
	File   string   `json:"file"`
	Margin Margin   `json:"margin"`
	Same   int      `json:"same"` // cases that are as they were, within the margin
	Worse  []Change `json:"worse,omitempty"`
	Better []Change `json:"better,omitempty"`
	// New are cases that the baseline does not have; Missing are those that it has of the
	// scenarios that ran, and that were not seen through.
	New     []string `json:"new,omitempty"`
	Missing []string `json:"missing,omitempty"`
}

// Change is one thing that is not as it was.
type Change struct {
	Name string `json:"name"`
	What string `json:"what"`
}

// Compare compares a run with a baseline.
func (b Baseline) Compare(r *Report, file string, m Margin) *Comparison {
	c := &Comparison{File: file, Margin: m}
	before := map[standingKey]Standing{}
	for _, s := range b.Cases {
		before[s.key()] = s
	}
	placed, ran := map[standingKey]bool{}, map[string]bool{}
	for _, s := range NewBaseline(r).Cases {
		placed[s.key()] = true
		old, ok := before[s.key()]
		if !ok {
			c.New = append(c.New, s.Name())
			continue
		}
		c.compare(old, s)
	}
	for _, x := range r.Calls {
		ran[x.Scenario] = true
	}
	for _, s := range b.Cases {
		if ran[s.Scenario] && s.Engine == r.Engine && s.Client == r.Client && !placed[s.key()] {
			c.Missing = append(c.Missing, s.Name())
		}
	}
	return c
}

func (c *Comparison) compare(old, now Standing) {
	var worse, better []string
	note := func(isWorse, isBetter bool, format string, args ...any) {
		switch {
		case isWorse:
			worse = append(worse, fmt.Sprintf(format, args...))
		case isBetter:
			better = append(better, fmt.Sprintf(format, args...))
		}
	}
	note(now.Failed && !old.Failed, !now.Failed && old.Failed, "%s, was %s", word(now.Failed), word(old.Failed))
	note(now.Path.Worse(old.Path), old.Path.Worse(now.Path), "path %s, was %s", now.Path, old.Path)
	if now.Path != now.After || old.Path != old.After {
		note(now.After.Worse(old.After), old.After.Worse(now.After), "path at the end %s, was %s", now.After, old.After)
	}
	note(c.Margin.exceeded(old.Connect, now.Connect), c.Margin.exceeded(now.Connect, old.Connect), "connected after %s, was %s", seconds(now.Connect), seconds(old.Connect))
	note(c.Margin.exceeded(old.Gap, now.Gap), c.Margin.exceeded(now.Gap, old.Gap), "longest gap %s, was %s", seconds(now.Gap), seconds(old.Gap))
	for _, w := range worse {
		c.Worse = append(c.Worse, Change{now.Name(), w})
	}
	for _, b := range better {
		c.Better = append(c.Better, Change{now.Name(), b})
	}
	if len(worse)+len(better) == 0 {
		c.Same++
	}
}

func word(failed bool) string {
	if failed {
		return "not as expected"
	}
	return "as expected"
}

// maxMargin is a time that is a hundred times as long; above that, nothing would be
// compared.
const maxMargin = 10_000 // in percent

// ParseMargin reads "50%" or "0.5".
func ParseMargin(text string) (float64, error) {
	var x float64
	var rest string
	if n, _ := fmt.Sscanf(text, "%g%s", &x, &rest); n == 0 || !(x >= 0 && x <= maxMargin) || rest != "" && rest != "%" {
		return 0, errors.New("a margin is a share such as 50% or 0.5")
	}
	if rest == "%" {
		x /= 100
	}
	return x, nil
}

// comparison tells of the baseline.
func (t *textWriter) comparison() {
	c := t.r.Baseline
	if c == nil {
		return
	}
	t.say("%s %s", t.paint(bold, "against "+c.File+":"), Plural(c.Same, "case as it was", "cases as they were"))
	list := func(mark, color string, changes []Change) {
		for _, x := range changes {
			t.say("  %s %s: %s", t.paint(color, mark), x.Name, x.What)
		}
	}
	list("✗ worse", red, c.Worse)
	list("better", green, c.Better)
	t.names("new, not in the baseline", c.New)
	t.names("in the baseline, and not placed now", c.Missing)
	t.say("")
}

func (t *textWriter) names(what string, names []string) {
	const most = 5
	if len(names) == 0 {
		return
	}
	more := ""
	if len(names) > most {
		more = fmt.Sprintf(" and %d more", len(names)-most)
		names = names[:most]
	}
	text := ""
	for i, n := range names {
		if i > 0 {
			text += ", "
		}
		text += n
	}
	t.say("%s", Wrap(what+": "+text+more, "  ", t.width()))
}
