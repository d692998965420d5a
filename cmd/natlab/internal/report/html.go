package report

import (
	_ "embed" // page.html
	"fmt"
	"html/template"
	"io"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds": seconds, "clock": clock, "pair": pairText, "plural": Plural,
	"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	"share":   func(s Side) string { return fmt.Sprintf("%.1f %%", 100*s.LostShare()) },
}).Parse(pageText))

// htmlPage is what page.html shows.
type htmlPage struct {
	*Report
	Title  string
	Good   bool
	Groups []htmlGroup
}

type htmlGroup struct {
	Name, About      string
	Summary          string
	Callers, Callees []string
	Rows             [][]htmlCell // where it is a matrix
	Cells            []htmlCell
}

// htmlCell is a case: the call that stands for it, and a word of the others.
type htmlCell struct {
	ID      string
	There   bool
	Name    string
	Class   string // of its colour
	Text    string // its path, and a sign if it is not as it should be
	Detail  string
	Outcome Outcome
	Mark    string
	Path    string
	// RelayedBy is who relayed the call, with the kernel's share; "" if nobody did.
	RelayedBy string
	Seeds     string
	Call      Call
	Line      timeline
}

// WriteHTML writes the report as one page that needs nothing beside it: no network, and no
// script but for comfort.
func (r *Report) WriteHTML(w io.Writer) error {
	p := htmlPage{Report: r, Good: r.Totals.Failed+r.Totals.Broken == 0 && (r.Baseline == nil || len(r.Baseline.Worse) == 0) && !r.Interrupted}
	p.Title = fmt.Sprintf("NAT lab: %d of %s as expected", r.Totals.Passed, Plural(len(r.Calls), "call", "calls"))
	n := 0
	for _, g := range r.groups() {
		h := htmlGroup{Name: g.scenario, About: r.About[g.scenario]}
		passed := 0
		for _, c := range g.cells {
			n++
			h.Cells = append(h.Cells, htmlCellOf(c, fmt.Sprintf("c%d", n)))
			passed += c.passed()
		}
		h.Summary = fmt.Sprintf("%d of %s as expected", passed, Plural(g.calls(), "call", "calls"))
		if g.isMatrix() {
			h.matrix(g)
		}
		p.Groups = append(p.Groups, h)
	}
	return page.Execute(w, p)
}

func (h *htmlGroup) matrix(g group) {
	h.Callers, h.Callees = g.axes()
	for _, caller := range h.Callers {
		var row []htmlCell
		for _, callee := range h.Callees {
			var found htmlCell
			for _, c := range h.Cells {
				if c.Call.Caller == caller && c.Call.Callee == callee {
					found = c
				}
			}
			row = append(row, found)
		}
		h.Rows = append(h.Rows, row)
	}
}

func htmlCellOf(c cell, id string) htmlCell {
	x := c.shown()
	h := htmlCell{
		ID: id, There: true, Name: c.name, Text: cellText(c), Detail: cellDetail(c), Outcome: c.outcome(), Mark: c.outcome().mark(),
		Path: pathText(x), RelayedBy: c.relayedBy(), Call: x, Line: timelineOf(x),
	}
	if h.Name == "" {
		h.Name = c.scenario
	}
	h.Class = string(h.Outcome)
	if h.Outcome == Passed {
		h.Class += " " + short(x.Path)
	}
	if len(c.calls) > 1 {
		h.Seeds = fmt.Sprintf("%d of %d calls as expected", c.passed(), len(c.calls))
		if c.passed() < len(c.calls) {
			h.Seeds += "; not so with " + seedsOf(c)
		}
		h.Seeds += fmt.Sprintf(". Shown is the one with seed %d.", x.Seed)
	}
	return h
}

// Why is why the path is expected.
func (h htmlCell) Why() string { return strings.TrimSpace(h.Call.Reason) }

// Sides are those that took part.
func (h htmlCell) Sides() []htmlSide {
	if h.Outcome == Skipped || h.Outcome == Broken {
		return nil
	}
	return []htmlSide{{"caller", h.Call.Caller, h.Call.Sides[0]}, {"callee", h.Call.Callee, h.Call.Sides[1]}}
}

type htmlSide struct {
	Who, Access string
	Side
}

// When is the day and the time that the run began.
func (p htmlPage) When() string { return p.Began.Format("2 January 2006, 15:04:05 MST") }

// Lasted is the wall time of the run.
func (p htmlPage) Lasted() string { return seconds(p.Took.Round(time.Millisecond)) }
