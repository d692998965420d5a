package processes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"switchboard/cmd/natlab/internal/scenario"
)

// action is an event of the case, or the end of one.
type action struct {
	at    time.Duration // after both sides have had media
	event scenario.Event
	ends  bool // a network that was cut comes back
}

// timeLine is what happens in the call, in its order.
func timeLine(events []scenario.Event) []action {
	var all []action
	for _, e := range events {
		all = append(all, action{at: e.At, event: e})
		if e.Cut != nil {
			all = append(all, action{at: e.Ends(), event: e, ends: true})
		}
	}
	slices.SortStableFunc(all, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	return all
}

// events does what happens in the call, each at its time, and returns after the last. What
// cannot be done is the lab's error.
func (p *placing) events(ctx context.Context) error {
	began := time.Now()
	for _, a := range timeLine(p.c.Events) {
		if err := sleep(ctx, time.Until(began.Add(a.at))); err != nil {
			return err
		}
		if p.firstEvent.IsZero() {
			p.firstEvent = time.Now()
		}
		p.relaying.ask(ctx) // one that is killed now cannot be asked later
		if err := p.act(ctx, a); err != nil {
			return labError{fmt.Errorf("event at %v: %w", a.at, err)}
		}
	}
	return nil
}

func (p *placing) act(ctx context.Context, a action) error {
	e := a.event
	what, whom := e.Action()
	if a.ends {
		p.note(whom, "is back")
		return p.lab.Cut(ctx, whom, false)
	}
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
		return p.lab.Cut(ctx, whom, true)
	}
	return fmt.Errorf("nothing happens in it")
}
