package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"switchboard/cmd/natlab/internal/theory"
)

// maxFailures is how many failures are told in full: where everything fails, the first ones
// say why.
const maxFailures = 20

// WriteText writes the report for people: each scenario as a matrix or as lines, what
// failed and why, and the sum.
func (r *Report) WriteText(w io.Writer, s Style) error {
	t := newTextWriter(w, s, r)
	groups := r.groups()
	for i := 0; i < len(groups); {
		if groups[i].isMatrix() {
			t.matrix(groups[i])
			i++
			continue
		}
		end := i + 1
		for end < len(groups) && !groups[end].isMatrix() {
			end++
		}
		t.list(groups[i:end])
		i = end
	}
	t.failures(groups)
	t.comparison()
	t.summary()
	return t.w.Flush()
}

type textWriter struct {
	w *bufio.Writer
	Style
	r *Report
}

func newTextWriter(w io.Writer, s Style, r *Report) *textWriter {
	return &textWriter{bufio.NewWriter(w), s, r}
}

func (t *textWriter) say(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

// matrix has a row for each caller and a column for each callee. Columns are numbered, since
// names are longer than what stands below them.
func (t *textWriter) matrix(g group) {
	callers, callees := g.axes()
	t.heading(g)
	many := t.r.Repeat > 1
	label := 0
	for i, c := range callers {
		label = max(label, runes(rowLabel(i, c)))
	}
	width := 8
	for _, c := range g.cells {
		width = max(width, runes(cellText(c))+2, runes(cellDetail(c))+2)
	}
	head := pad("caller", 6, label+4)
	for i := range callees {
		n := fmt.Sprint(i + 1)
		head += pad(n, len(n), width)
	}
	t.say("  %s", t.paint(faint, strings.TrimRight(head, " ")))
	for i, caller := range callers {
		line, detail := pad(rowLabel(i, caller), runes(rowLabel(i, caller)), label+4), strings.Repeat(" ", label+4)
		for _, callee := range callees {
			c, ok := g.cell(caller, callee)
			text, more := "·", ""
			if ok {
				text, more = cellText(c), cellDetail(c)
			}
			line += pad(t.paint(cellColor(c, ok), text), runes(text), width)
			detail += pad(t.paint(faint, more), runes(more), width)
		}
		t.say("  %s", strings.TrimRight(line, " "))
		if many {
			t.say("  %s", strings.TrimRight(detail, " "))
		}
	}
	if !slices.Equal(callers, callees) {
		var names []string
		for i, c := range callees {
			names = append(names, fmt.Sprintf("%d %s", i+1, c))
		}
		t.say("%s", Wrap("callees: "+strings.Join(names, ", "), "  ", t.width()))
	} else {
		t.say("  %s", t.paint(faint, "columns are the callees, numbered as the rows are"))
	}
	t.legend(g, many)
	t.say("")
}

func (t *textWriter) heading(g group) {
	what := fmt.Sprintf("%s, %s", Plural(len(g.cells), "case", "cases"), Plural(g.calls(), "call", "calls"))
	if len(g.cells) == g.calls() {
		what = Plural(g.calls(), "call", "calls")
	}
	t.say("%s  %s", t.paint(bold, g.scenario), t.paint(faint, what+" by "+t.r.Client+" on the "+t.r.Engine+" engine"))
	if about := t.r.About[g.scenario]; about != "" {
		t.say("%s", Wrap(about, "  ", t.width()))
	}
}

func rowLabel(i int, name string) string { return fmt.Sprintf("%2d %s", i+1, name) }

// cellText is the path, after a sign if it is not as it should be.
func cellText(c cell) string {
	switch c.outcome() {
	case Skipped:
		return "–"
	case Broken:
		return "!"
	case Failed:
		return "✗ " + short(c.shown().Path)
	}
	if c.byKernel() {
		return short(c.shown().Path) + " k"
	}
	return short(c.shown().Path)
}

func cellDetail(c cell) string {
	if len(c.calls) < 2 || len(c.placed()) == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%d %.2fs", c.passed(), len(c.calls), c.slowest().Seconds())
}

func cellColor(c cell, ok bool) string {
	switch {
	case !ok:
		return faint
	case c.outcome() == Passed:
		return pathColor(c.shown().Path)
	}
	return c.outcome().color()
}

var legends = []struct{ word, text string }{
	{"host", "host: by their own addresses"},
	{"direct", "direct: through the NATs"},
	{"udp", "udp, tcp, tls: through a relay, reached by that"},
	{"k", "k: by its kernel (eBPF), not its process"},
	{"none", "none: no connection"},
	{"✗", "✗: not as expected"},
	{"–", "–: not placed"},
	{"!", "!: the lab did not work"},
}

// legend explains the words that are there.
func (t *textWriter) legend(g group, many bool) {
	there := map[string]bool{}
	for _, c := range g.cells {
		for _, word := range strings.Fields(cellText(c)) {
			if word == "tcp" || word == "tls" {
				word = "udp"
			}
			there[word] = true
		}
	}
	var list []string
	for _, l := range legends {
		if there[l.word] {
			list = append(list, l.text)
		}
	}
	if many {
		list = append(list, "n/n: as expected, of how many, and the slowest to connect")
	}
	t.say("%s", t.paint(faint, Wrap(strings.Join(list, " · "), "  ", t.width())))
}

// list has a line for each case of some scenarios.
func (t *textWriter) list(groups []group) {
	rows := [][]string{{"", "scenario", "path", "connected", "gap", "lost", "", ""}}
	var outcomes []Outcome
	for _, g := range groups {
		for _, c := range g.cells {
			rows = append(rows, listRow(c))
			outcomes = append(outcomes, c.outcome())
			if c.relayedBy() != "" {
				rows[0][6] = "relayed by"
			}
		}
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, text := range row {
			widths[i] = max(widths[i], runes(text))
		}
	}
	for n, row := range rows {
		var line strings.Builder
		for i, text := range row {
			code := ""
			switch {
			case widths[i] == 0:
				continue // nobody has anything there
			case n == 0:
				code = faint
			case i == 0:
				code = outcomes[n-1].color()
			}
			line.WriteString(pad(t.paint(code, text), runes(text), widths[i]+2))
		}
		t.say("%s", strings.TrimRight(line.String(), " "))
	}
	t.say("")
}

func listRow(c cell) []string {
	x := c.shown()
	name := c.scenario
	if c.name != "" {
		name += ": " + c.name
	}
	row := []string{c.outcome().mark(), name, "", "", "", "", "", ""}
	switch c.outcome() {
	case Skipped:
		row[2] = "not placed: " + x.Skipped
		return row
	case Broken:
		row[2] = "the lab did not work"
		return row
	}
	row[2] = pathText(x)
	if x.Path != string(theory.None) {
		row[3], row[4], row[5] = seconds(c.slowest()), seconds(c.longestGap()), lostText(c)
	}
	row[6] = c.relayedBy()
	if len(c.calls) > 1 {
		row[7] = fmt.Sprintf("%d/%d", c.passed(), len(c.calls))
	}
	return row
}

// pathText is the path, and the one at the end if it is another.
func pathText(c Call) string {
	if c.After == "" || c.After == c.Path {
		return cmp.Or(c.Path, "none")
	}
	return cmp.Or(c.Path, "none") + " → " + c.After
}

func lostText(c cell) string {
	worst := 0.0
	for _, x := range c.placed() {
		for _, s := range x.Sides {
			worst = max(worst, s.LostShare())
		}
	}
	return fmt.Sprintf("%.1f %%", 100*worst)
}

// LostShare is the share of the packets to this side that were lost, 0 to 1.
func (s Side) LostShare() float64 {
	if s.Lost+s.Received == 0 {
		return 0
	}
	return float64(s.Lost) / float64(s.Lost+s.Received)
}

// summary has the sum.
func (t *textWriter) summary() {
	r := t.r
	if len(r.Calls) == 0 {
		t.say("no call was placed")
		return
	}
	parts := []string{t.paint(green, fmt.Sprintf("%d as expected", r.Totals.Passed))}
	for _, p := range []struct {
		n     int
		text  string
		color string
	}{{r.Totals.Failed, "not as expected", red}, {r.Totals.Skipped, "not placed", faint}, {r.Totals.Broken, "in which the lab did not work", yellow}} {
		if p.n > 0 {
			parts = append(parts, t.paint(p.color, fmt.Sprintf("%d %s", p.n, p.text)))
		}
	}
	t.say("%s by %s on the %s engine: %s; %s", t.paint(bold, Plural(len(r.Calls), "call", "calls")), r.Client, r.Engine, strings.Join(parts, ", "), seconds(r.Took))
	if r.Interrupted {
		t.say("%s", t.paint(yellow, fmt.Sprintf("interrupted: %d of %d calls were placed", len(r.Calls), r.Planned)))
	}
}
