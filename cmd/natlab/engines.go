package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"switchboard/cmd/natlab/internal/bubble"
	"switchboard/cmd/natlab/internal/engine"
	"switchboard/cmd/natlab/internal/virtual"
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
}

// clean takes away what a kernel engine that was killed has left behind, and says what on w.
var clean = func(context.Context, io.Writer) error {
	return errors.New("this program has no kernel engine, which is what leaves things behind")
}

// doctor says on w what this machine can do, and what to install. It returns an error if
// that is not enough for the kernel engine.
var doctor = func(context.Context, io.Writer) error {
	return errors.New("this program has no kernel engine; the virtual one needs nothing of the machine")
}
