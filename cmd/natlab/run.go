package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// Bounds of what can be asked for at once.
const (
	maxRepeat = 10_000
	maxJobs   = 256
)

// runOptions are the flags of run.
type runOptions struct {
	scenarios, engine, which string
	browser, verbose         bool
	repeat, jobs             int
	seed                     uint64
	dataPath                 string
	json, junit, html        string
	baseline, write, margin  string
	keep                     string
	client                   string // by browser
	marginShare              float64
	given                    []string // names of scenarios
	old                      *report.Baseline
}

func (p *program) runFlags(fs *flag.FlagSet) func(context.Context, []string) error {
	o := &runOptions{}
	dir := scenariosFlag(fs)
	fs.StringVar(&o.engine, "engine", "", "`virtual|kernel`: in this process and in virtual time, the default; or on network namespaces, as root")
	fs.BoolVar(&o.browser, "browser", false, "Chromium on both sides in place of the softphone, on the kernel engine; without a name, the scenario browsers")
	fs.IntVar(&o.repeat, "repeat", 1, "place each call `N` times, with seeds one after the other")
	fs.Uint64Var(&o.seed, "seed", 1, "`S` that chance begins with")
	fs.StringVar(&o.which, "case", "", "only the case `\"A × B\"`, or caller=A,callee=B, either of which may be left out")
	fs.IntVar(&o.jobs, "jobs", 0, "place `N` calls at once; else one for each processor on the virtual engine, one on the kernel's")
	fs.StringVar(&o.dataPath, "data-path", "", "`auto|ebpf|user|plain`: by what all relays relay, on the kernel engine; with ebpf, what could go through the kernel must")
	fs.StringVar(&o.json, "json", "", "write all of it to `FILE` as JSON; - is the standard output, without the report for people")
	fs.StringVar(&o.junit, "junit", "", "write `FILE` as JUnit XML, for CI systems")
	fs.StringVar(&o.html, "html", "", "write `FILE`, one page with the matrix and the time line of each call")
	fs.StringVar(&o.baseline, "baseline", "", "compare with `FILE`; what got worse or slower is a failure")
	fs.StringVar(&o.write, "write-baseline", "", "write `FILE` to compare with later")
	fs.StringVar(&o.margin, "margin", "50%", "by how much a time may grow, as a `SHARE`, before it is slower: and by at least 500 ms")
	fs.StringVar(&o.keep, "keep", "", "keep logs and packet captures of each call under `DIR`")
	fs.BoolVar(&o.verbose, "v", false, "log what the engine does")
	return func(ctx context.Context, names []string) error {
		o.scenarios, o.given = *dir, names
		if err := o.complete(p); err != nil {
			return err
		}
		return p.runScenarios(ctx, o)
	}
}

// complete checks the flags and fills in what follows from others.
func (o *runOptions) complete(p *program) error {
	o.client = engine.Softphone
	if o.browser {
		o.client = engine.Chromium
		if o.engine == engine.Virtual {
			return usageError("a browser needs a real network: leave --engine virtual out")
		}
		o.engine = engine.Kernel
		if len(o.given) == 0 {
			o.given = []string{"browsers"}
		}
	}
	if o.engine == "" {
		o.engine = engine.Virtual
	}
	if !slices.Contains(scenario.Engines, o.engine) {
		return usageError("--engine %q: there are %s", o.engine, strings.Join(scenario.Engines, " and "))
	}
	if err := scenario.CheckDataPath(o.dataPath); err != nil {
		return usageError("--data-path: %w", err)
	}
	if o.dataPath != "" && o.engine != engine.Kernel {
		return usageError("--data-path %s: relays in memory have no choice; add --engine kernel", o.dataPath)
	}
	if o.repeat < 1 || o.repeat > maxRepeat {
		return usageError("--repeat %d is not between 1 and %d", o.repeat, maxRepeat)
	}
	if o.jobs < 0 || o.jobs > maxJobs {
		return usageError("--jobs %d is not between 1 and %d", o.jobs, maxJobs)
	}
	if o.jobs == 0 {
		o.jobs = 1
		if o.engine == engine.Virtual {
			o.jobs = runtime.GOMAXPROCS(0)
		}
	}
	var err error
	if o.marginShare, err = report.ParseMargin(o.margin); err != nil {
		return usageError("--margin %q: %w", o.margin, err)
	}
	if o.baseline != "" {
		o.old, err = readBaseline(o.baseline)
	}
	return err
}

func readBaseline(path string) (*report.Baseline, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, usageError("--baseline: %w; write one with --write-baseline", err)
	}
	defer f.Close()
	b, err := report.ReadBaseline(f)
	if err != nil {
		return nil, usageError("--baseline %s: %w", path, err)
	}
	return &b, nil
}

func (p *program) runScenarios(ctx context.Context, o *runOptions) error {
	list, err := p.choose(o)
	if err != nil {
		return err
	}
	jobs, err := jobsOf(list, o)
	if err != nil {
		return err
	}
	open, ok := p.engines[o.engine]
	if !ok {
		return &exit{exitLab, fmt.Errorf("this program has no %s engine", o.engine)}
	}
	log := slog.New(slog.DiscardHandler)
	if o.verbose {
		log = slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	e, err := open(ctx, log)
	if err != nil {
		return &exit{exitLab, fmt.Errorf("the %s engine: %w", o.engine, err)}
	}
	r, why := p.placeAll(ctx, e, log, jobs, o)
	closed := e.Close()
	for _, s := range list {
		r.About[s.Name] = s.About
	}
	if o.old != nil {
		r.Baseline = o.old.Compare(r, o.baseline, report.Margin{Share: o.marginShare, Least: report.DefaultMargin.Least})
		if o.which != "" {
			r.Baseline.Missing = nil // on purpose
		}
	}
	if err := p.write(r, o); err != nil {
		return &exit{exitLab, errors.Join(err, closed)}
	}
	return outcome(r, why, closed)
}

// choose loads the scenarios that are for the engine. One that was named must be.
func (p *program) choose(o *runOptions) ([]*scenario.Scenario, error) {
	all, err := p.load(o.scenarios, o.given...)
	if err != nil {
		return nil, err
	}
	var list []*scenario.Scenario
	for _, s := range all {
		switch {
		case s.On(o.engine):
			list = append(list, s)
		case len(o.given) > 0:
			return nil, usageError("%s is not for the %s engine: %s", s.Name, o.engine, s.Why)
		}
	}
	if len(list) == 0 {
		return nil, usageError("no scenario is for the %s engine", o.engine)
	}
	return list, nil
}

// jobsOf are the calls of some scenarios, in the order of their cases, and of the seeds of each.
func jobsOf(list []*scenario.Scenario, o *runOptions) ([]job, error) {
	var jobs []job
	var none error
	for _, s := range list {
		cases := s.Cases()
		if o.which != "" {
			var err error
			if cases, err = scenario.Choose(cases, o.which); err != nil {
				none = errors.Join(none, fmt.Errorf("%s: %w", s.Name, err))
				continue
			}
		}
		for _, c := range cases {
			if o.dataPath != "" {
				c = c.WithDataPath(o.dataPath)
			}
			for i := range o.repeat {
				jobs = append(jobs, job{c, o.seed + uint64(i)})
			}
		}
	}
	if len(jobs) == 0 {
		return nil, &exit{exitUsage, none}
	}
	return jobs, nil
}

func (p *program) placeAll(ctx context.Context, e engine.Engine, log *slog.Logger, jobs []job, o *runOptions) (*report.Report, error) {
	r := &report.Report{
		Version: report.Version, Program: version(), Engine: o.engine, Client: o.client, Seed: o.seed, Repeat: o.repeat,
		DataPath: o.dataPath, Began: p.now(), Planned: len(jobs), About: map[string]string{},
	}
	pl := &placer{engine: e, client: o.client, keep: o.keep, log: log, now: p.now, rerun: o.rerun}
	progress := report.NewProgress(p.stderr, p.style(p.stderr), p.width(p.stderr) > 0, len(jobs), p.now)
	var why error
	r.Calls, why = pl.place(ctx, jobs, o.jobs, func(j job) {
		progress.Started(report.Call{Scenario: j.Scenario, Case: j.Name}.Name())
	}, progress.Done)
	progress.Finish()
	r.Took = p.now().Sub(r.Began).Round(time.Millisecond)
	r.Interrupted = len(r.Calls) < len(jobs)
	r.Count()
	return r, why
}

// rerun is the command that places a case alone.
func (o *runOptions) rerun(c scenario.Case, seed uint64) string {
	words := []string{"natlab", "run", c.Scenario}
	for _, name := range o.given { // one that was given as a file
		if strings.HasSuffix(name, "/"+c.Scenario+".yaml") || name == c.Scenario+".yaml" {
			words[2] = quote(name)
		}
	}
	if c.Name != "" {
		words = append(words, "--case", quote(c.Name))
	}
	switch {
	case o.browser:
		words = append(words, "--browser")
	case o.engine != engine.Virtual:
		words = append(words, "--engine", o.engine)
	}
	if o.dataPath != "" {
		words = append(words, "--data-path", o.dataPath)
	}
	if o.scenarios != "" {
		words = append(words, "--scenarios", quote(o.scenarios))
	}
	return strings.Join(append(words, "--seed", fmt.Sprint(seed)), " ")
}

// quote is a word for a shell.
func quote(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./,=", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// write writes the report in all forms that are asked for.
func (p *program) write(r *report.Report, o *runOptions) error {
	if o.json == "-" {
		if err := r.WriteJSON(p.stdout); err != nil {
			return err
		}
	} else if err := r.WriteText(p.stdout, p.style(p.stdout)); err != nil {
		return err
	}
	baseline := o.write
	if r.Interrupted && baseline != "" { // a part would leave the rest unguarded, and replace a whole one
		fmt.Fprintf(p.stderr, "natlab: %s is not written: the run was not seen through\n", baseline)
		baseline = ""
	}
	var errs []error
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{o.json, r.WriteJSON}, {o.junit, r.WriteJUnit}, {o.html, r.WriteHTML}, {baseline, report.NewBaseline(r).Write},
	} {
		if f.path != "" && f.path != "-" {
			errs = append(errs, writeFile(f.path, f.write))
		}
	}
	return errors.Join(errs...)
}

// writeFile writes a file that is there as a whole or not at all.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.CreateTemp(dirOf(path), ".natlab-")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer os.Remove(f.Name()) // unless it has its name by then
	err = errors.Join(write(f), f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

func dirOf(path string) string {
	if i := strings.LastIndexByte(path, os.PathSeparator); i >= 0 {
		return path[:i+1]
	}
	return "."
}

// outcome is the error that the program ends with.
func outcome(r *report.Report, why, closed error) error {
	switch {
	case interrupted(why):
		return &exit{exitInterrupted, closed}
	case r.Totals.Failed > 0 || r.Baseline != nil && len(r.Baseline.Worse) > 0:
		return &exit{exitFailed, closed}
	case why != nil:
		return &exit{exitLab, errors.Join(why, closed)}
	case r.Totals.Broken > 0 || closed != nil:
		return &exit{exitLab, closed}
	}
	return nil
}
