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
		over = began.Add(e.Ends())
	}
	return sleep(ctx, time.Until(over))
}

func (p *placing) event(ctx context.Context, e scenario.Event) error {
	what, whom := e.Action()
	p.note(whom, "%s", e)
	switch what {
	case "kill":
		return p.servers.kill(whom)
	case "drain":
		return p.servers.drain(ctx, whom)
	case "start":
		return p.servers.restart(ctx, whom)
	case "move":
		return p.lab.Move(ctx, whom, e.Move.Network)
	case "join":
		return p.lab.Join(ctx, whom, e.Join.Network)
	case "leave":
		return p.lab.Leave(ctx, whom, e.Leave.Network)
	case "reboot":
		return p.lab.Reboot(ctx, whom)
	case "cut":
		return p.lab.Cut(ctx, whom, e.Cut.For)
	}
	return fmt.Errorf("nothing happens in it")
}
