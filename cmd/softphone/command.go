package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// Exit codes, for scripts.
const (
	exitOK          = 0
	exitError       = 1 // something failed; the message says what
	exitUsage       = 2
	exitNoAnswer    = 3 // rang, and nobody answered
	exitBusy        = 4
	exitDeclined    = 5
	exitUnreachable = 6
	exitMedia       = 7 // answered, but no sound came through, or it was lost
	exitRefused     = 8 // the server refused: token, number, limit
	exitBroken      = 9 // under load the server broke a promise
)

// exit is an error that ends the program with a code.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string { return e.err.Error() }
func (e *exit) Unwrap() error { return e.err }

// command is one word of the program's.
type command struct {
	name, args, summary string
	flags               func(*flag.FlagSet) func(context.Context, *env, []string) error
}

// env is what commands work with.
type env struct {
	in      io.Reader
	out     *output
	server  string
	profile string
	trips   roundTrips
}

// commands in the order of the help.
func commands() []command {
	return []command{
		{"register", "NUMBER", "get a device for a number, by the code that is sent to it", registerFlags},
		{"call", "NUMBER", "call a number and talk until one side hangs up", callFlags},
		{"listen", "", "wait for calls and texts", listenFlags},
		{"send", "NUMBER TEXT", "send a text", sendFlags},
		{"inbox", "", "show the texts and calls that wait", inboxFlags},
		{"presence", "NUMBER", "tell whether a number is there", presenceFlags},
		{"unregister", "", "give the device up", unregisterFlags},
		{"trial", "", "place calls through a server of its own and tell how they went", trialFlags},
		{"load", "", "have many devices text each other and prove that nothing is lost", loadFlags},
		{"version", "", "print the version", versionFlags},
	}
}

func run(ctx context.Context, args []string, in io.Reader, stdout, stderr io.Writer) int {
	e := &env{in: in}
	fs := flag.NewFlagSet("softphone", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	e.out = &output{w: stdout}
	e.flags(fs)
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) || err == nil && (fs.NArg() == 0 || fs.Arg(0) == "help") {
		fmt.Fprint(stdout, usage())
		if fs.NArg() == 0 && err == nil {
			return exitUsage
		}
		return exitOK
	}
	if err == nil {
		err = e.run(ctx, fs.Args())
	} else {
		err = &exit{exitUsage, fmt.Errorf("%w; see softphone help", err)}
	}
	return report(err, e, stdout, stderr)
}

// flags adds those that stand before the command or after it.
func (e *env) flags(fs *flag.FlagSet) {
	fs.StringVar(&e.server, "server", e.server, "`URL` of the server, as http://localhost:8080, or of several nodes of one, with commas between; only register needs it")
	fs.StringVar(&e.profile, "profile", e.profile, "which device to be, a `name` or a path to a file")
	fs.Var(&e.trips, "round-trips", "what was measured to the server's regions before, in `milliseconds`, as eu=12,us=95")
	fs.BoolVar(&e.out.json, "json", e.out.json, "one JSON object a line instead of text")
}

func (e *env) run(ctx context.Context, args []string) error {
	for _, c := range commands() {
		if c.name != args[0] {
			continue
		}
		fs := flag.NewFlagSet("softphone "+c.name, flag.ContinueOnError)
		var text strings.Builder
		fs.SetOutput(&text)
		fs.Usage = func() {
			fmt.Fprintf(&text, "softphone %s [flags] %s\n\n%s.\n\n", c.name, c.args, c.summary)
			fs.PrintDefaults()
		}
		do := c.flags(fs)
		e.flags(fs)
		if err := fs.Parse(args[1:]); errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(e.out.w, text.String())
			return nil
		} else if err != nil {
			return &exit{exitUsage, fmt.Errorf("%w; see softphone %s -h", err, c.name)}
		}
		if want := len(strings.Fields(c.args)); fs.NArg() != want {
			return &exit{exitUsage, fmt.Errorf("softphone %s takes %d arguments, flags before them: softphone %s [flags] %s", c.name, want, c.name, c.args)}
		}
		return do(ctx, e, fs.Args())
	}
	return &exit{exitUsage, fmt.Errorf("no command %q; see softphone help", args[0])}
}

// report tells what went wrong and returns the exit code.
func report(err error, e *env, stdout, stderr io.Writer) int {
	if err == nil {
		return exitOK
	}
	code := exitError
	var x *exit
	var refused *protocol.Error
	var ended *client.EndError
	switch {
	case errors.As(err, &x):
		code = x.code
	case errors.As(err, &refused), errors.As(err, &ended):
		code = exitRefused
	case errors.Is(err, context.Canceled):
		return exitOK // the user ended it
	}
	if e.out.json {
		e.out.event("error", "code", code, "error", err.Error())
		return code
	}
	fmt.Fprintln(stderr, "softphone:", err)
	return code
}

func usage() string {
	var b strings.Builder
	b.WriteString(`softphone is a phone on the command line.

usage: softphone [-server URL] [-profile NAME] [-json] COMMAND [flags] ARGUMENTS

`)
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-22s %s\n", strings.TrimSpace(c.name+" "+c.args), c.summary)
	}
	b.WriteString(`
  -server URL     of the server, as http://localhost:8080, or of several nodes of one, with
                  commas between, of which it keeps to one that answers; only register needs it
  -profile NAME   which device to be, a name or a path to a file; default "default"
  -json           one JSON object a line instead of text
  -round-trips eu=12,us=95
                  what was measured to the server's regions before, in milliseconds: calls
                  then get relays of the nearest region at once

These may also follow the command. Each has flags of its own: softphone COMMAND -h.

exit codes: 0 fine, 1 error, 2 usage, 3 no answer, 4 busy, 5 declined,
6 unreachable, 7 no media, 8 refused by the server, 9 a promise was broken
`)
	return b.String()
}

func versionFlags(*flag.FlagSet) func(context.Context, *env, []string) error {
	return func(_ context.Context, e *env, _ []string) error {
		e.out.event("version", "version", version())
		return nil
	}
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
