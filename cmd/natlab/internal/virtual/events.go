package virtual

import (
	"context"
	"fmt"
	"time"

	"switchboard/cmd/natlab/internal/scenario"
)

// play lets the events of the case happen, and returns when the last one is over.
func (l *lab) play(ctx context.Context) error {
	began := time.Now()
	l.until = 1<<63 - 1
	for i, e := range l.c.Events {
		if err := sleep(ctx, time.Until(began.Add(e.At))); err != nil {
			return err
		}
		if i == 0 {
			l.until = time.Since(l.began)
		}
		if err := l.happen(ctx, e); err != nil {
			return fmt.Errorf("event at %v: %w", e.At, err)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// happen does one event. What takes a time, as a cut does, is over when it returns.
func (l *lab) happen(ctx context.Context, e scenario.Event) error {
	switch {
	case e.Kill != "":
		l.note(e.Kill, "killed")
		return l.kill(e.Kill)
	case e.Drain != "":
		l.note(e.Drain, "drained")
		return l.drain(e.Drain)
	case e.Start != "":
		return l.startAgain(ctx, e.Start)
	case e.Move != nil:
		l.note(e.Move.Host, "moves to "+e.Move.Network)
		l.world.Host(e.Move.Host).Move(l.world.Network(e.Move.Network))
		return nil
	case e.Join != nil:
		l.note(e.Join.Host, "joins "+e.Join.Network)
		l.world.Host(e.Join.Host).Join(l.world.Network(e.Join.Network))
		return nil
	case e.Leave != nil:
		l.note(e.Leave.Host, "leaves "+e.Leave.Network)
		l.world.Host(e.Leave.Host).Leave(l.world.Network(e.Leave.Network))
		return nil
	case e.Reboot != "":
		l.note(e.Reboot, "reboots: its mappings are lost")
		l.world.Router(e.Reboot).Reboot()
		return nil
	case e.Cut != nil:
		l.note(e.Cut.Network, "is gone")
		l.world.Network(e.Cut.Network).Cut()
		err := sleep(ctx, e.Cut.For)
		l.note(e.Cut.Network, "is back")
		l.world.Network(e.Cut.Network).Restore()
		return err
	}
	return fmt.Errorf("nothing is to happen")
}

// startAgain starts what was killed, and puts back into service what was drained.
func (l *lab) startAgain(ctx context.Context, name string) error {
	if r := l.relays[name]; r != nil {
		l.note(name, "is back in service")
		r.Server().Resume()
		return nil
	}
	if n := l.nodes[name]; n != nil {
		l.note(name, "is back in service")
		n.undrain()
		return nil
	}
	l.note(name, "started")
	l.world.Host(name).Start()
	return l.start(ctx, name)
}

func (l *lab) kill(name string) error {
	if l.relays[name] != nil {
		l.killRelay(name)
		return nil
	}
	if n := l.nodes[name]; n != nil {
		n.kill()
		delete(l.nodes, name)
		return nil
	}
	return fmt.Errorf("%s does not run", name)
}

func (l *lab) drain(name string) error {
	if r := l.relays[name]; r != nil {
		r.Drain()
		return nil
	}
	if n := l.nodes[name]; n != nil {
		n.drain()
		return nil
	}
	return fmt.Errorf("%s does not run", name)
}
