package report

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Skipped *junitMessage `xml:"skipped"`
	Error   *junitMessage `xml:"error"`
	Failure *junitMessage `xml:"failure"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as CI systems read it: a suite for each scenario, and one for
// the baseline if there is one. A run that was interrupted has an error in a suite of its
// own. Times are of the wall.
func (r *Report) WriteJUnit(w io.Writer) error {
	all := junitSuites{Name: "natlab", Time: xmlTime(r.Took)}
	for _, g := range r.groups() {
		all.add(r.junitScenario(g))
	}
	if r.Baseline != nil {
		all.add(r.junitBaseline())
	}
	if r.Interrupted {
		all.add(r.junitInterrupted())
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func (a *junitSuites) add(s junitSuite) {
	a.Suites = append(a.Suites, s)
	a.Tests, a.Failures, a.Errors, a.Skipped = a.Tests+s.Tests, a.Failures+s.Failures, a.Errors+s.Errors, a.Skipped+s.Skipped
}

func (r *Report) junitSuite(name string) junitSuite {
	return junitSuite{Name: name, Timestamp: r.Began.UTC().Format("2006-01-02T15:04:05"), Properties: []junitProperty{
		{"engine", r.Engine}, {"client", r.Client}, {"natlab", r.Program},
	}}
}

func (r *Report) junitScenario(g group) junitSuite {
	s := r.junitSuite(g.scenario)
	var took time.Duration
	for _, c := range g.cells {
		for _, x := range c.calls {
			took += x.Took
			s.Tests++
			s.Cases = append(s.Cases, x.junit(len(c.calls) > 1))
			switch x.Outcome() {
			case Failed:
				s.Failures++
			case Broken:
				s.Errors++
			case Skipped:
				s.Skipped++
			}
		}
	}
	s.Time = xmlTime(took)
	return s
}

func (c Call) junit(many bool) junitCase {
	name := cmp.Or(c.Case, c.Scenario)
	if many {
		name += fmt.Sprintf(" (seed %d)", c.Seed)
	}
	j := junitCase{Class: "natlab." + c.Scenario, Name: name, Time: xmlTime(c.Took)}
	switch c.Outcome() {
	case Failed:
		j.Failure = &junitMessage{c.Failures[0], "unexpected", c.plainFailure()}
	case Broken:
		j.Error = &junitMessage{"the lab did not work: " + c.Broken, "lab", "alone: " + c.Rerun}
	case Skipped:
		j.Skipped = &junitMessage{Message: c.Skipped}
	case Passed:
		j.Out = fmt.Sprintf("%s, connected after %s, longest gap %s", pathText(c), seconds(c.Connect), seconds(c.Gap))
		for _, r := range c.Relays {
			j.Out += "; " + r.String()
		}
	}
	return j
}

// plainFailure is what a terminal shows of it.
func (c Call) plainFailure() string {
	var b strings.Builder
	one := &Report{Calls: []Call{c}}
	t := newTextWriter(&b, Style{}, one)
	t.failures(one.groups())
	_ = t.w.Flush() // a builder takes all
	return b.String()
}

// junitBaseline has a case for what is worse, and one that passes if nothing is.
func (r *Report) junitBaseline() junitSuite {
	s := r.junitSuite("baseline")
	s.Time = xmlTime(0)
	for _, w := range r.Baseline.Worse {
		text := w.Name + ": " + w.What + "\n"
		if last := len(s.Cases) - 1; last >= 0 && s.Cases[last].Name == w.Name { // one case may be worse in two ways
			f := s.Cases[last].Failure
			f.Message, f.Text = f.Message+"; "+w.What, f.Text+text
			continue
		}
		s.Failures++
		s.Cases = append(s.Cases, junitCase{Class: "natlab.baseline", Name: w.Name, Time: xmlTime(0), Failure: &junitMessage{w.What, "worse", text}})
	}
	if len(s.Cases) == 0 {
		s.Cases = append(s.Cases, junitCase{Class: "natlab.baseline", Name: "nothing is worse than in " + r.Baseline.File, Time: xmlTime(0)})
	}
	s.Tests = len(s.Cases)
	return s
}

// junitInterrupted is so that half a run does not pass for a whole one.
func (r *Report) junitInterrupted() junitSuite {
	s := r.junitSuite("interrupted")
	s.Time, s.Tests, s.Errors = xmlTime(0), 1, 1
	what := fmt.Sprintf("interrupted: %d of %d calls were placed", len(r.Calls), r.Planned)
	s.Cases = []junitCase{{Class: "natlab", Name: "all calls are placed", Time: xmlTime(0), Error: &junitMessage{what, "interrupted", ""}}}
	return s
}

func xmlTime(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
