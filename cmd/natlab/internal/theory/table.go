package theory

import (
	_ "embed" // THEORY.md
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

//go:embed THEORY.md
var page string

// Table is THEORY.md as it is read.
type Table struct {
	Kinds   []string // of access, in the order of the rows
	cells   map[[2]string]Expectation
	names   map[string]string // other names of kinds
	Reasons map[int]Reason
}

// Reason is why a path is the best.
type Reason struct {
	Number int
	Short  string // a sentence
	Text   string // the rest, with sections of RFCs
}

// The page is read once; a test holds that it can be.
var read = sync.OnceValues(func() (*Table, error) { return parse(page) })

// Get returns the table.
func Get() *Table {
	t, err := read()
	if err != nil {
		panic(err)
	}
	return t
}

// Page is THEORY.md.
func Page() string { return page }

// Kind is the kind that an access's name stands for; "" for one that is not in the table.
func (t *Table) Kind(access string) string {
	if k, ok := t.names[access]; ok {
		return k
	}
	if _, ok := t.cells[[2]string{access, access}]; ok {
		return access
	}
	return ""
}

// Look is what the table says of two accesses, by any of their names; false if it has no
// row for one.
func (t *Table) Look(caller, callee string) (Expectation, bool) {
	e, ok := t.cells[[2]string{t.Kind(caller), t.Kind(callee)}]
	return e, ok
}

// Why is the reason as a line: its number and sentence.
func (t *Table) Why(reason int) string {
	r, ok := t.Reasons[reason]
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s (THEORY.md, reason %d)", r.Short, reason)
}

var (
	cell   = regexp.MustCompile(`^([a-z/]+) (\d+)$`)
	reason = regexp.MustCompile(`^(\d+)\. \*\*(.+)\*\*(.*)$`)
)

// parse reads the two tables and the list. It is strict: a slip of the pen is an error, not
// an expectation less.
func parse(page string) (*Table, error) {
	t := &Table{cells: map[[2]string]Expectation{}, names: map[string]string{}, Reasons: map[int]Reason{}}
	var columns []string
	var last int
	for line := range strings.Lines(page) {
		text := strings.TrimSpace(line)
		row := cellsOf(text)
		m := reason.FindStringSubmatch(text)
		switch {
		case len(row) > 2 && row[0] == "caller":
			columns = row[1:]
		case len(row) > 2 && columns != nil:
			if err := t.row(columns, row); err != nil {
				return nil, err
			}
		case len(row) == 2 && strings.HasPrefix(row[0], "`"):
			t.names[strings.Trim(row[0], "`")] = strings.Trim(row[1], "`")
		case m != nil:
			last, _ = strconv.Atoi(m[1])
			if _, twice := t.Reasons[last]; twice {
				return nil, fmt.Errorf("THEORY.md: reason %d stands there twice", last)
			}
			t.Reasons[last] = Reason{last, m[2], strings.TrimSpace(m[3])}
		case last != 0 && strings.HasPrefix(line, "   ") && text != "":
			r := t.Reasons[last]
			r.Text = strings.TrimSpace(r.Text + " " + text)
			t.Reasons[last] = r
		case strings.HasPrefix(text, "#"):
			last, columns = 0, nil
		}
	}
	return t, t.check()
}

// cellsOf splits a table's row; nil for what is none or only draws a line.
func cellsOf(line string) []string {
	if !strings.HasPrefix(line, "|") || !strings.HasSuffix(line, "|") || strings.HasPrefix(line, "|-") {
		return nil
	}
	row := strings.Split(strings.Trim(line, "|"), "|")
	for i := range row {
		row[i] = strings.TrimSpace(row[i])
	}
	return row
}

func (t *Table) row(columns, row []string) error {
	if len(row) != len(columns)+1 {
		return fmt.Errorf("THEORY.md: the row of %s has %d cells, not %d", row[0], len(row)-1, len(columns))
	}
	t.Kinds = append(t.Kinds, row[0])
	for i, text := range row[1:] {
		m := cell.FindStringSubmatch(text)
		if m == nil || !Path(m[1]).Known() {
			return fmt.Errorf("THEORY.md: %s × %s: %q is no path with a reason's number", row[0], columns[i], text)
		}
		n, _ := strconv.Atoi(m[2])
		t.cells[[2]string{row[0], columns[i]}] = Expectation{Path(m[1]), n}
	}
	return nil
}

func (t *Table) check() error {
	if len(t.Kinds) == 0 || len(t.cells) != len(t.Kinds)*len(t.Kinds) {
		return fmt.Errorf("THEORY.md: the table has %d rows and %d cells", len(t.Kinds), len(t.cells))
	}
	for pair, e := range t.cells {
		if _, ok := t.Reasons[e.Reason]; !ok {
			return fmt.Errorf("THEORY.md: %s × %s: there is no reason %d", pair[0], pair[1], e.Reason)
		}
		if _, ok := t.cells[[2]string{pair[1], pair[0]}]; !ok {
			return fmt.Errorf("THEORY.md: there is a column %s and no row", pair[1])
		}
	}
	for name, kind := range t.names {
		if t.Kind(kind) != kind {
			return fmt.Errorf("THEORY.md: %s is said to be %s, which has no row", name, kind)
		}
	}
	return nil
}
