// Package engine says what places the calls of a lab. The engines themselves are
// packages of their own; cmd/natlab knows them by name.
package engine

import (
	"context"
	"log/slog"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/cmd/natlab/internal/scenario"
)

// The engines' names, which are those of scenario.Engines, and those of the clients.
const (
	Virtual = "virtual"
	Kernel  = "kernel"

	Softphone = "softphone"
	Chromium  = "chromium"
)

// Options are those of one call.
type Options struct {
	// Seed makes chance repeat itself, as far as the engine can.
	Seed uint64
	// Client is Softphone or Chromium, on both sides.
	Client string
	// Keep is a directory, which exists, for logs and packet captures of this call; "" keeps
	// none.
	Keep string
	// Log has what an engine does; it is never nil.
	Log *slog.Logger
}

// Engine places calls. Its methods may be used by several goroutines; Close comes last and
// once.
type Engine interface {
	// Name is Virtual or Kernel.
	Name() string
	// Run places the call of a case and tells how it went. It sets what it has seen and no
	// more: Path, After, Connect, Gap, Sides, Events, Kept, and Skipped with a reason if it
	// cannot make such networks or clients. What was expected, and whether that came true, is
	// for the caller to say. A call that fails is no error; an error is that the lab
	// itself did not work, or the context's if that ended it. Run leaves nothing running.
	Run(ctx context.Context, c scenario.Case, o Options) (report.Call, error)
	// Close gives back what the engine holds beside calls.
	Close() error
}
