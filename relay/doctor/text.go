package doctor

import (
	"fmt"
	"io"
)

// Print writes a result for people: a line and, if something is to be changed, a
// second one that says what.
func Print(w io.Writer, r Result) {
	figure := ""
	if r.Figure != "" {
		figure = "  (" + r.Figure + ")"
	}
	fmt.Fprintf(w, "%-7s  %s%s\n", r.Status, r.Check, figure)
	if r.Advice != "" {
		fmt.Fprintf(w, "         -> %s\n", r.Advice)
	}
}

// PrintSummary writes the last line.
func PrintSummary(w io.Writer, s Summary) {
	fmt.Fprintf(w, "\n%d ok, %s, %d failed\n", s.OK, plural(s.Warnings, "warning"), s.Failed)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
