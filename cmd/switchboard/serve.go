package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options is what a run is given beside its settings.
type Options struct {
	// Stdout receives what a person wants to read who runs this by hand.
	Stdout io.Writer
	// LogTo receives the log.
	LogTo io.Writer
	// AddrFile, when not empty, is a file to write the addresses to, as JSON,
	// once the process is ready. See [Addrs].
	AddrFile string
	// OnReady, when not nil, is called with the same.
	OnReady func(Addrs)
}

// closeWithin bounds what is done after the last connection is gone, and all
// that is done for the sessions of a process that cannot go on.
const closeWithin = 3 * time.Second

// Serve builds the parts that c asks for, runs them until ctx ends, and drains
// them: not ready any more, sessions sent elsewhere, relayed calls waited for,
// then all closed, within c.DrainDeadline and a few seconds. When a part fails,
// all end, and its error is returned.
func Serve(ctx context.Context, c Config, o Options) error {
	return newNode(c, o).serve(ctx)
}

func (n *node) serve(ctx context.Context) error {
	defer n.close()
	if err := n.listen(); err != nil {
		return err
	}
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	n.group, n.life = errgroup.WithContext(life)
	n.start("operators' HTTP", n.serveOps)

	err := n.open(ctx)
	if err == nil {
		err = n.run(ctx)
	} else if ctx.Err() != nil {
		err = nil // asked to end before all was open
	}
	end()
	return errors.Join(err, n.group.Wait())
}

// run starts the parts and returns when ctx has ended and they are drained, or
// when one of them has failed.
func (n *node) run(ctx context.Context) error {
	for _, p := range n.parts {
		if n.start(p.name, p.run); !n.waitStarted(ctx, p) {
			return nil // ctx or a part ended
		}
		if p.then != nil {
			p.then()
		}
	}
	n.serving.Store(true)
	if err := n.announce(); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		n.drain()
	case <-n.life.Done():
		n.abandon()
	}
	return nil
}

// start runs a part. It may end only when the life of all does.
func (n *node) start(name string, run func(context.Context) error) {
	n.group.Go(func() error {
		err := run(n.life)
		switch {
		case n.life.Err() != nil && (err == nil || errors.Is(err, context.Canceled)):
			return nil
		case err == nil:
			err = errors.New("ended by itself")
		}
		return fmt.Errorf("%s: %w", name, err)
	})
}

// waitStarted waits for a part that tells when it has started.
func (n *node) waitStarted(ctx context.Context, p part) bool {
	if p.started == nil {
		return true
	}
	select {
	case <-p.started:
		return true
	case <-ctx.Done():
	case <-n.life.Done():
	}
	return false
}

// drain ends what the process does for others, in order, so that as little as
// possible is noticed.
func (n *node) drain() {
	n.draining.Store(true)
	n.log.Info("draining", "deadline", n.config.DrainDeadline)
	ctx, cancel := context.WithTimeout(context.Background(), n.config.DrainDeadline)
	defer cancel()
	for _, e := range n.atDrain {
		if err := e.end(ctx); err != nil {
			n.log.Warn("not drained in time", "part", e.part, "error", err)
		}
	}
}

// abandon sends the sessions of a process that cannot go on elsewhere, as far
// as that can be done quickly.
func (n *node) abandon() {
	n.draining.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	for _, e := range n.atFailure {
		if err := e.end(ctx); err != nil {
			n.log.Warn("not ended in time", "part", e.part, "error", err)
		}
	}
}

// close closes what was opened, last first.
func (n *node) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i](ctx); err != nil {
			n.log.Warn("not closed cleanly", "error", err)
		}
	}
	if n.serving.Load() {
		n.log.Info("stopped")
	}
}

// newLogger is the process's log, as c wants it.
func newLogger(c LogConfig, to io.Writer) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(to, o))
	}
	return slog.New(slog.NewTextHandler(to, o))
}
