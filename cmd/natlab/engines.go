package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"switchboard/cmd/natlab/internal/bubble"
	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/processes"
	"switchboard/cmd/natlab/internal/virtual"
	"switchboard/relay/natlab/kernel"
)

// opener makes an engine ready. It says what this machine lacks, if anything.
type opener func(ctx context.Context, log *slog.Logger) (engine.Engine, error)

// engines are those that this program has, by name.
var engines = map[string]opener{
	engine.Virtual: func(context.Context, *slog.Logger) (engine.Engine, error) {
		b, err := bubble.Start()
		if err != nil {
			return nil, err
		}
		return virtual.New(b)
	},
	engine.Kernel: func(ctx context.Context, _ *slog.Logger) (engine.Engine, error) {
		if err := lacking(kernel.Doctor()); err != nil {
			return nil, err
		}
		return processes.New(ctx, processes.Options{Bin: os.Getenv("NATLAB_BIN")})
	},
}

// lacking is what no lab can be made without, nil if all of it is there.
func lacking(all []kernel.Finding) error {
	var errs []error
	for _, f := range all {
		if f.Needed && !f.OK {
			errs = append(errs, fmt.Errorf("%s: %s; %s", f.What, f.Found, f.Get))
		}
	}
	return errors.Join(errs...)
}

// clean takes away what kernel engines that were killed have left behind, and says what on
// w.
var clean = func(_ context.Context, w io.Writer) error {
	c, err := kernel.Clean()
	folders, ferr := processes.Clean()
	err = errors.Join(err, ferr)
	if len(folders) > 0 {
		fmt.Fprintf(w, "removed %d folders of programs and settings\n", len(folders))
	}
	if len(c.Labs)+len(folders) == 0 && err == nil {
		fmt.Fprintln(w, "nothing was left behind")
	}
	if len(c.Labs) > 0 {
		fmt.Fprintf(w, "removed what %d labs left behind: %d network namespaces, and %d processes in them\n", len(c.Labs), c.Namespaces, c.Processes)
	}
	if len(c.Living) > 0 {
		fmt.Fprintf(w, "left alone %d labs that somebody works with\n", len(c.Living))
	}
	return err
}

// doctor says on w what this machine can do, and what to install. It returns an error if
// that is not enough for the kernel engine.
var doctor = func(_ context.Context, w io.Writer) error {
	fmt.Fprintln(w, "ok       the virtual engine needs nothing of the machine")
	all := kernel.Doctor()
	for _, f := range all {
		state := "ok"
		switch {
		case !f.OK && f.Needed:
			state = "missing"
		case !f.OK:
			state = "without"
		}
		fmt.Fprintf(w, "%-8s %s", state, f.What)
		if f.Found != "" {
			fmt.Fprintf(w, ": %s", f.Found)
		}
		if !f.OK && f.Get != "" {
			fmt.Fprintf(w, "; to have it: %s", f.Get)
		}
		fmt.Fprintln(w)
	}
	if lacking(all) != nil {
		return errors.New("this machine cannot run the kernel engine")
	}
	return nil
}
