package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

func listenFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	o := mediaFlags(fs)
	answer := fs.String("answer", "auto", "what to do with calls: auto, reject, busy, or ring without end")
	after := fs.Duration("answer-after", 0, "ring this long before answering")
	duration := fs.Duration("duration", 0, "hang up this long after media is up; 0 waits for the other side")
	once := fs.Bool("once", false, "end after the first call")
	limit := fs.Duration("for", 0, "end after this long; 0 listens until interrupted")
	return func(ctx context.Context, e *env, _ []string) error {
		switch *answer {
		case "auto", "reject", "busy", "ring":
		default:
			return &exit{exitUsage, errors.New("-answer must be auto, reject, busy or ring")}
		}
		if err := o.validate(); err != nil {
			return err
		}
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
		l := &listening{env: e, client: c, own: p.Number, media: *o, answer: *answer, after: *after, duration: *duration, once: *once}
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
	client   *client.Client
	own      string
	media    mediaOptions
	answer   string
	after    time.Duration
	duration time.Duration
	once     bool
	inCall   chan error // nil while there is no call
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
	s, err := l.ringAndAnswer(ctx, call)
	if err == nil && s != nil {
		s.print(l.out)
	}
	return err
}

// ringAndAnswer lets the call ring as long as was asked, and then takes it. Media is
// set up meanwhile, so that it flows at once. It returns nil if the call ended
// before.
func (l *listening) ringAndAnswer(ctx context.Context, call *client.Call) (*summary, error) {
	p, err := newPhone(call.ICE(), protocol.Callee, l.media, l.out)
	if err != nil {
		return nil, err
	}
	sdp, err := p.answer(call.Offer())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("not answered: %w", err), p.close())
	}
	if l.answer != "auto" || l.after > 0 {
		if l.answer == "auto" && p.mayPrepare() {
			p.prepare(sdp)
		}
		var answer <-chan time.Time
		if l.answer == "auto" {
			answer = time.After(l.after)
		}
		end, err := p.ring(ctx, call, answer)
		if end != nil || err != nil {
			if end != nil {
				l.out.event("missed", "reason", end.Reason)
			}
			return nil, errors.Join(err, p.close())
		}
	}
	s, err := l.answerWith(ctx, p, call, sdp, l.duration)
	return &s, err
}
