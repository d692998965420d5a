package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"switchboard/cmd/natlab/internal/draw"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/cmd/natlab/internal/theory"
)

func (p *program) explainFlags(fs *flag.FlagSet) func(context.Context, []string) error {
	dir := scenariosFlag(fs)
	which := fs.String("case", "", "the case `\"A × B\"`; it may also be the second argument")
	return func(_ context.Context, args []string) error {
		if len(args) == 2 && *which == "" {
			*which, args = args[1], args[:1]
		}
		if len(args) != 1 {
			return usageError("natlab explain takes a scenario, and one of its cases: natlab explain matrix \"adm-adf × eim-apdf\"")
		}
		list, err := p.load(*dir, args[0])
		if err != nil {
			return err
		}
		cases := list[0].Cases()
		if *which != "" {
			if cases, err = scenario.Choose(cases, *which); err != nil {
				return usageError("%s: %w", list[0].Name, err)
			}
		}
		e := explainer{p.stdout, list[0], cmp.Or(p.width(p.stdout), 100)}
		if len(cases) == 1 {
			return e.one(cases[0])
		}
		return e.many(cases)
	}
}

// explainer tells of a scenario.
type explainer struct {
	w     io.Writer
	s     *scenario.Scenario
	width int
}

func (e explainer) head(name string) {
	fmt.Fprintf(e.w, "%s: %s\n", name, e.s.About)
	if e.s.Why != "" {
		fmt.Fprintf(e.w, "only on the %s engine: %s\n", strings.Join(e.s.Engines, ", "), e.s.Why)
	}
	fmt.Fprintln(e.w)
}

// one draws a case and tells what is expected of it.
func (e explainer) one(c scenario.Case) error {
	name := c.Scenario
	if c.Name != "" {
		name += " (" + c.Name + ")"
	}
	e.head(name)
	err := draw.Networks(e.w, c)
	for _, side := range []struct{ host, access string }{{c.Caller, c.CallerAccess}, {c.Callee, c.CalleeAccess}} {
		if side.access != "" {
			fmt.Fprintf(e.w, "\n%s is behind %s: %s", side.host, side.access, e.s.Access[side.access].About)
		}
	}
	fmt.Fprintf(e.w, "\n\n%s calls %s. After there is media on both sides:\n", c.Caller, c.Callee)
	err = errors.Join(err, draw.Events(e.w, c))
	x := c.Expect
	fmt.Fprintf(e.w, "\nexpected: %s", x.Path)
	if x.After != x.Path {
		fmt.Fprintf(e.w, ", at the end %s", x.After)
	}
	fmt.Fprintf(e.w, "\n%s\n", report.Wrap("since: "+c.Reason, "  ", e.width))
	if r := theory.Get().Reasons[c.ReasonNumber]; r.Text != "" {
		fmt.Fprintln(e.w, report.Wrap(r.Text, "  ", e.width))
	}
	if x.Path != scenario.None {
		fmt.Fprintf(e.w, "  media on both sides within %v of the answer, no gap above %v", x.ConnectWithin, x.Gap)
		if len(c.Events) == 0 {
			fmt.Fprintf(e.w, ", at most %.3g %% lost", 100*x.Lost)
		}
		fmt.Fprintln(e.w)
	}
	return err
}

// many has what is expected of each pair, and the accesses.
func (e explainer) many(cases []scenario.Case) error {
	e.head(e.s.Name)
	var callers, callees, used []string
	for _, c := range cases {
		for list, name := range map[*[]string]string{&callers: c.CallerAccess, &callees: c.CalleeAccess} {
			if !slices.Contains(*list, name) {
				*list = append(*list, name)
			}
		}
	}
	w := tabwriter.NewWriter(e.w, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "caller \\ callee")
	for _, name := range callees {
		fmt.Fprintf(w, "\t%s", name)
	}
	fmt.Fprintln(w)
	for _, caller := range callers {
		fmt.Fprint(w, caller)
		for _, callee := range callees {
			cell := "·"
			for _, c := range cases {
				if c.CallerAccess == caller && c.CalleeAccess == callee {
					cell = string(c.Expect.Path)
				}
			}
			fmt.Fprintf(w, "\t%s", cell)
		}
		fmt.Fprintln(w)
	}
	err := w.Flush()
	fmt.Fprintln(e.w)
	for _, name := range append(callers, callees...) {
		if slices.Contains(used, name) {
			continue
		}
		used = append(used, name)
		fmt.Fprintf(e.w, "%s: %s\n", name, e.s.Access[name].About)
		e.routers(e.s.Access[name])
	}
	fmt.Fprintf(e.w, "\nwhy, and a drawing: natlab explain %s %s\n", e.s.Name, quote(cases[0].Name))
	return err
}

func (e explainer) routers(a scenario.Access) {
	for i, r := range a.Routers {
		for j, line := range draw.Router(r) {
			lead := "     "
			if j == 0 {
				lead = fmt.Sprintf("  %d. ", i+1)
			}
			fmt.Fprintln(e.w, lead+line)
		}
	}
	if link := draw.Link(a.Network.Link); link != "" {
		fmt.Fprintln(e.w, "  link: "+link)
	}
}
