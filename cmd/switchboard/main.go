// Command switchboard connects people by phone number: it is the signaling
// node, the relay, or both, as its roles say. Run it with help for how to use
// it; configs/switchboard.yaml is the manual of its settings.
//
// main builds the parts, runs them and drains them; it is the only place that
// knows them all. serve.go reads as a table of contents of the house.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	os.Exit(Main())
}

// Main is the program with the process's own arguments, streams and signals.
// It returns the exit code.
func Main() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	ctx, stop := untilSignal()
	defer stop()
	p := program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, environ: os.Environ()}
	return p.run(ctx, os.Args[1:])
}

// gcPercent is how much garbage may pile up between collections, in percent of
// what is alive. A server holds many small things for long, among which garbage
// leaves holes: with Go's own 100 an idle connection costs an eighth more
// memory. GOGC overrides it.
const gcPercent = 45

// untilSignal returns a context that ends at the first SIGINT or SIGTERM, which
// asks for an orderly end. A second one ends the process at once, with exit
// code 1.
func untilSignal() (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, "switchboard: stopped at once by a second signal")
		os.Exit(exitFailed)
	}()
	return ctx, func() { signal.Stop(signals); cancel() }
}
