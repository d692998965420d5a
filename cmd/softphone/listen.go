package main

import (
	"context"
	"errors"
	"flag"
	"time"

	"switchboard/cmd/internal/phone"
	"switchboard/signaling/client"
)

func listenFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	m := addMediaFlags(fs)
	answer := fs.String("answer", "auto", "what to do with calls: auto, reject, busy, or ring without end")
	after := fs.Duration("answer-after", 0, "ring this long before answering")
	fs.DurationVar(&m.o.Duration, "duration", 0, "hang up this long after media is up; 0 waits for the other side")
	once := fs.Bool("once", false, "end after the first call")
	limit := fs.Duration("for", 0, "end after this long; 0 listens until interrupted")
	return func(ctx context.Context, e *env, _ []string) error {
		switch *answer {
		case "auto", "reject", "busy", "ring":
		default:
			return &exit{exitUsage, errors.New("-answer must be auto, reject, busy or ring")}
		}
		o, err := m.options(e.out)
		if err != nil {
			return err
		}
		o.Wait = max(*after, 0)
		if *limit > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, *limit)
			defer cancel()
		}
		c, p, err := e.connect(ctx, false)
		if err != nil {
			return err
		}
		defer c.Close()
		e.out.event("listening", "number", p.Number)
		l := &listening{env: e, client: c, own: p.Number, media: o, answer: *answer, once: *once}
		err = l.run(ctx)
		if errors.Is(err, context.DeadlineExceeded) {
			return nil
		}
		return err
	}
}

// listening waits for calls, one at a time, and texts.
type listening struct {
	*env
	client *client.Client
	own    string
	media  phone.Options
	answer string
	once   bool
	inCall chan error // nil while there is no call
}

func (l *listening) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			if l.inCall != nil {
				<-l.inCall
			}
			return ctx.Err()
		case err := <-l.inCall:
			l.inCall = nil
			if err != nil {
				l.out.say("softphone: %v", err)
			}
			if l.once {
				return err
			}
		case ev, ok := <-l.client.Events():
			if !ok {
				return l.client.Err()
			}
			l.handle(ctx, ev)
		}
	}
}

func (l *listening) handle(ctx context.Context, ev client.Event) {
	switch ev := ev.(type) {
	case client.Incoming:
		l.out.event("incoming", "from", ev.Call.Peer().E164(), "call", ev.Call.ID)
		if l.inCall != nil && !ev.Merged {
			l.inCallBusy(ctx, ev.Call)
			return
		}
		l.inCall = make(chan error, 1)
		go func() { l.inCall <- l.take(ctx, ev.Call) }() // run waits for it
	case client.Item:
		l.showItem(ev, l.own)
		ev.Ack()
	case client.Disconnected:
		l.out.event("signaling lost", "retry", ev.Retry)
	case client.Typing:
		l.out.event("typing", "from", ev.From.E164())
	}
}

func (l *listening) inCallBusy(ctx context.Context, call *client.Call) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := call.Busy(ctx); err != nil {
		l.out.say("softphone: a second call: %v", err)
	}
}

func (l *listening) take(ctx context.Context, call *client.Call) error {
	rctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	switch l.answer {
	case "reject":
		return call.Reject(rctx)
	case "busy":
		return call.Busy(rctx)
	}
	call.Ringing()
	o := l.media
	if l.answer == "ring" {
		o.Wait = phone.Forever
	}
	s, err := phone.Answer(ctx, call, o)
	if err == nil && s.Answered {
		printSummary(l.out, s)
	}
	return err
}
