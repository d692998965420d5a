package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

func (p *program) listFlags(fs *flag.FlagSet) func(context.Context, []string) error {
	dir := scenariosFlag(fs)
	return func(_ context.Context, names []string) error {
		list, err := p.load(*dir, names...)
		if err != nil {
			return err
		}
		w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintln(w, "SCENARIO\tENGINES\tCASES\tWHAT IT SHOWS")
		total := 0
		for _, s := range list {
			engines := s.Engines
			if len(engines) == 0 {
				engines = scenario.Engines
			}
			fmt.Fprintf(w, "%s\t%s\t%d\t%s\n", s.Name, strings.Join(engines, ", "), len(s.Cases()), s.About)
			total += len(s.Cases())
		}
		if err := w.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(p.stdout, "\n%s, %s\n", report.Plural(len(list), "scenario", "scenarios"), report.Plural(total, "case", "cases"))
		return nil
	}
}
