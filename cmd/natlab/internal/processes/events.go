package processes

import (
	"context"
	"fmt"
	"time"

	"switchboard/cmd/natlab/internal/scenario"
)

// events does what happens in the call, each at its time, and returns after the last is
// over. What an event cannot do is the lab's error, or the server's that it asked.
func (p *placing) events(ctx context.Context) error {
	began := time.Now()
	over := began
	for _, e := range p.c.Events {
		if err := sleep(ctx, time.Until(began.Add(e.At))); err != nil {
			return err
		}
		if p.firstEvent.IsZero() {
			p.firstEvent = time.Now()
		}
		if err := p.event(ctx, e); err != nil {
			return labError{fmt.Errorf("event at %v: %w", e.At, err)}
		}
		if e.Cut != nil {
			over = time.Now().Add(e.Cut.For)
		}
	}
	return sleep(ctx, time.Until(over))
}

func (p *placing) event(ctx context.Context, e scenario.Event) error {
	switch {
	case e.Kill != "":
		p.note(e.Kill, "killed")
		return p.servers.kill(e.Kill)
	case e.Drain != "":
		p.note(e.Drain, "drained")
		return p.servers.drain(ctx, e.Drain)
	case e.Start != "":
		p.note(e.Start, "started anew")
		return p.servers.restart(ctx, e.Start)
	case e.Move != nil:
		p.note(e.Move.Host, "moves to %s", e.Move.Network)
		return p.lab.Move(ctx, e.Move.Host, e.Move.Network)
	case e.Join != nil:
		p.note(e.Join.Host, "joins %s", e.Join.Network)
		return p.lab.Join(ctx, e.Join.Host, e.Join.Network)
	case e.Leave != nil:
		p.note(e.Leave.Host, "leaves %s", e.Leave.Network)
		return p.lab.Leave(ctx, e.Leave.Host, e.Leave.Network)
	case e.Reboot != "":
		p.note(e.Reboot, "reboots")
		return p.lab.Reboot(ctx, e.Reboot)
	case e.Cut != nil:
		p.note(e.Cut.Network, "is gone for %v", e.Cut.For)
		return p.lab.Cut(ctx, e.Cut.Network, e.Cut.For)
	}
	return fmt.Errorf("nothing happens in it")
}
