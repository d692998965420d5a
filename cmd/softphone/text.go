package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

func sendFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	wait := fs.Duration("wait", 0, "wait this long for the text to be delivered")
	return func(ctx context.Context, e *env, args []string) error {
		c, _, err := e.connect(ctx, *wait == 0)
		if err != nil {
			return err
		}
		defer c.Close()
		id := client.NewID()
		rctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("the server did not store the text in time"))
		defer cancel()
		stored, err := c.Send(rctx, id, args[0], args[1])
		if err != nil {
			return err
		}
		e.out.event("stored", "to", stored.To.E164(), "id", id)
		if *wait == 0 {
			return nil
		}
		return e.awaitDelivered(ctx, c, id, *wait)
	}
}

// awaitDelivered waits for the receipt. What else waits in the mailbox stays
// there.
func (e *env) awaitDelivered(ctx context.Context, c *client.Client, id string, d time.Duration) error {
	timeout := time.NewTimer(d)
	defer timeout.Stop()
	for {
		select {
		case ev, ok := <-c.Events():
			if !ok {
				return c.Err()
			}
			switch ev := ev.(type) {
			case client.Incoming:
				go ev.Call.Busy(ctx) // ends with the answer, or with the client
			case client.Item:
				if ev.Kind == protocol.KindDelivered && ev.ID == id {
					e.out.event("delivered", "id", id)
					return nil
				}
			}
		case <-timeout.C:
			return &exit{exitNoAnswer, errors.New("stored, but not delivered yet")}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func inboxFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	keep := fs.Bool("keep", false, "leave everything in the mailbox")
	return func(ctx context.Context, e *env, _ []string) error {
		c, p, err := e.connect(ctx, true)
		if err != nil {
			return err
		}
		defer c.Close()
		shown := 0
		for {
			select {
			case ev, ok := <-c.Events():
				if !ok {
					return c.Err()
				}
				switch ev := ev.(type) {
				case client.Item:
					if e.showItem(ev, p.Number) {
						shown++
					}
					if !*keep {
						ev.Ack()
					}
				case client.Drained:
					if !ev.Missed.IsZero() {
						e.out.say("what came since %s did not fit into the mailbox; another device has it", ev.Missed.Format(time.DateTime))
					}
					if shown == 0 {
						e.out.say("nothing waits")
					}
					return nil
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// showItem prints what concerns people. It reports whether there was anything.
func (e *env) showItem(it client.Item, own string) bool {
	at := time.UnixMilli(it.Time).Format(time.DateTime)
	switch it.Kind {
	case protocol.KindMessage:
		if it.From.E164() == own {
			e.out.event("sent elsewhere", "time", at, "to", it.To.E164(), "id", it.ID, "text", it.Body)
		} else {
			e.out.event("text", "time", at, "from", it.From.E164(), "id", it.ID, "text", it.Body)
		}
		return true
	case protocol.KindCall:
		if it.Call == nil || it.Call.Answered || it.From.E164() == own {
			return false
		}
		e.out.event("missed call", "time", at, "from", it.From.E164(), "reason", it.Call.Reason)
		return true
	case protocol.KindDelivered, protocol.KindRead:
		e.out.event(string(it.Kind), "time", at, "to", it.From.E164(), "id", it.ID)
		return true
	}
	return false
}

func presenceFlags(*flag.FlagSet) func(context.Context, *env, []string) error {
	return func(ctx context.Context, e *env, args []string) error {
		c, _, err := e.connect(ctx, true)
		if err != nil {
			return err
		}
		defer c.Close()
		p, err := c.Presence(ctx, args[0])
		if err != nil {
			return err
		}
		switch {
		case p.Online:
			e.out.event("online", "number", p.Number.E164())
		case p.LastSeen > 0:
			e.out.event("away", "number", p.Number.E164(), "last_seen", time.UnixMilli(p.LastSeen).Format(time.DateTime))
		default:
			e.out.event("away", "number", p.Number.E164(), "last_seen", "unknown")
		}
		return nil
	}
}
