package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// Exit codes, for scripts and CI.
const (
	exitOK          = 0
	exitFailed      = 1 // something is not as expected
	exitUsage       = 2 // wrong arguments, or scenarios that cannot be read
	exitLab         = 3 // the lab itself could not run
	exitInterrupted = 130
)

// exit is an error that ends the program with a code; without a text it has been told.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}
func (e *exit) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// program is what a command may use of the process it runs in.
type program struct {
	stdout, stderr io.Writer
	environ        []string
	now            func() time.Time
	width          func(io.Writer) int // of a terminal; 0 if it is none
	engines        map[string]opener
	clean, doctor  func(context.Context, io.Writer) error
}

// command is one word of the program's.
type command struct {
	name, args, summary string
	flags               func(*program, *flag.FlagSet) func(context.Context, []string) error
}

// commands in the order of the help.
func commands() []command {
	return []command{
		{"run", "[SCENARIO…]", "place the calls of scenarios, of all if none is named", (*program).runFlags},
		{"list", "", "list the scenarios", (*program).listFlags},
		{"explain", "SCENARIO [CASE]", "draw a scenario's networks, and say what is expected and why", (*program).explainFlags},
		{"clean", "", "take away what a kernel engine that was killed has left behind", simple(func(p *program) func(context.Context, io.Writer) error { return p.clean })},
		{"doctor", "", "say what this machine can do, and what to install", simple(func(p *program) func(context.Context, io.Writer) error { return p.doctor })},
		{"version", "", "print the version", (*program).versionFlags},
	}
}

const usageHead = `natlab places real calls between phones behind every kind of NAT, and says
which path they took, whether that is what theory expects, and why.

usage: natlab COMMAND [flags] [arguments]

`

const usageTail = `
Each has flags of its own: natlab COMMAND -h. They may stand before or after the names.

  natlab run matrix                        nine kinds of NAT and two firewalls, against each other
  natlab run smoke --html report.html      a pair for each kind of path, and a page to look at
  natlab run classic --engine kernel       on real network namespaces, as root
  natlab run --baseline natlab.json        all, and fail if something got worse or slower
  natlab explain matrix "adm-adf × eim-apdf"

Scenarios are the files of configs/natlab, here or in a directory above, or where
--scenarios or NATLAB_SCENARIOS says. On the kernel engine, the programs switchboard,
softphone and nats-server are those of the folder that NATLAB_BIN names, or else are built
here, or those beside this one or in PATH. cmd/natlab/README.md is the guide.

exit codes: 0 all as expected, 1 something is not, or is worse than in the baseline,
2 usage, 3 the lab itself could not run, 130 interrupted
`

func usage() string {
	var b strings.Builder
	b.WriteString(usageHead)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-24s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
	}
	b.WriteString(usageTail)
	return b.String()
}

// run runs the command that args name and returns the exit code.
func (p *program) run(ctx context.Context, args []string) int {
	if len(args) == 0 {
		fmt.Fprint(p.stderr, usage())
		return exitUsage
	}
	return p.code(p.command(ctx, args[0], args[1:]))
}

func (p *program) command(ctx context.Context, name string, args []string) error {
	if slices.Contains([]string{"help", "-h", "-help", "--help"}, name) {
		if len(args) == 0 {
			fmt.Fprint(p.stdout, usage())
			return nil
		}
		name, args = args[0], []string{"-h"} // natlab help run
	}
	name = strings.TrimPrefix(strings.TrimPrefix(name, "--"), "-") // as in --version
	for _, c := range commands() {
		if c.name != name {
			continue
		}
		fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
		fs.SetOutput(io.Discard)
		do := c.flags(p, fs)
		names, err := parse(fs, args)
		switch {
		case errors.Is(err, flag.ErrHelp):
			p.help(c, fs)
			return nil
		case err != nil:
			return usageError("%w; see natlab %s -h", err, c.name)
		}
		return do(ctx, names)
	}
	return usageError("no command %q; see natlab help", name)
}

// parse reads flags and names in any order. What follows -- is names.
func parse(fs *flag.FlagSet, args []string) ([]string, error) {
	var names []string
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, err
		}
		rest := fs.Args()
		if used := len(args) - len(rest); used > 0 && args[used-1] == "--" {
			return append(names, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		names, args = append(names, rest[0]), rest[1:]
	}
	return names, nil
}

func (p *program) help(c command, fs *flag.FlagSet) {
	fmt.Fprintf(p.stdout, "natlab %s: %s.\n\nusage: natlab %s\n", c.name, c.summary, strings.TrimSpace(c.name+" [flags] "+c.args))
	first := true
	fs.VisitAll(func(f *flag.Flag) {
		if first {
			fmt.Fprintln(p.stdout)
			first = false
		}
		value, text := flag.UnquoteUsage(f)
		dashes := "--"
		if len(f.Name) == 1 {
			dashes = "-"
		}
		fmt.Fprintf(p.stdout, "  %-25s %s\n", strings.TrimSpace(dashes+f.Name+" "+value), text)
	})
}

// code tells what went wrong and returns the exit code.
func (p *program) code(err error) int {
	if err == nil {
		return exitOK
	}
	code := exitLab
	if x, ok := errors.AsType[*exit](err); ok {
		code = x.code
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(p.stderr, "natlab: %s\n", strings.ReplaceAll(text, "\n", "\nnatlab: "))
	}
	return code
}

// simple is a command that takes no arguments and does one thing.
func simple(which func(*program) func(context.Context, io.Writer) error) func(*program, *flag.FlagSet) func(context.Context, []string) error {
	return func(p *program, fs *flag.FlagSet) func(context.Context, []string) error {
		return func(ctx context.Context, args []string) error {
			if len(args) > 0 {
				return usageError("natlab %s takes no arguments", fs.Name())
			}
			return which(p)(ctx, p.stdout)
		}
	}
}

func (p *program) versionFlags(*flag.FlagSet) func(context.Context, []string) error {
	return func(_ context.Context, args []string) error {
		if len(args) > 0 {
			return usageError("natlab version takes no arguments")
		}
		fmt.Fprintln(p.stdout, "natlab", version())
		return nil
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

// style is how to write to w: in colours on a terminal, unless NO_COLOR is set.
func (p *program) style(w io.Writer) report.Style {
	width := p.width(w)
	return report.Style{Color: width > 0 && p.env("NO_COLOR") == "", Width: width}
}

func (p *program) env(name string) string {
	for _, kv := range p.environ {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// scenariosFlag adds --scenarios.
func scenariosFlag(fs *flag.FlagSet) *string {
	return fs.String("scenarios", "", "`DIR` with scenarios; else NATLAB_SCENARIOS, else "+scenario.Dir+" here or above")
}
