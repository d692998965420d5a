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

// mediaFlags adds the flags that calls in both directions have.
func mediaFlags(fs *flag.FlagSet) *mediaOptions {
	o := &mediaOptions{}
	fs.StringVar(&o.play, "play", "", "send this WAV file, then silence")
	fs.StringVar(&o.record, "record", "", "write what is heard to this WAV file")
	fs.BoolVar(&o.relayOnly, "relay-only", false, "use no path but through a relay")
	fs.StringVar(&o.transport, "transport", "", "reach the relay by udp, tcp or tls alone")
	return o
}

func (o *mediaOptions) validate() error {
	switch o.transport {
	case "", "udp", "tcp", "tls":
		return nil
	}
	return &exit{exitUsage, errors.New("-transport must be udp, tcp or tls")}
}

func callFlags(fs *flag.FlagSet) func(context.Context, *env, []string) error {
	o := mediaFlags(fs)
	duration := fs.Duration("duration", 0, "hang up this long after the answer; 0 talks until somebody hangs up")
	ring := fs.Duration("ring", 0, "give up after ringing this long; 0 leaves it to the server")
	return func(ctx context.Context, e *env, args []string) error {
		if err := o.validate(); err != nil {
			return err
		}
		c, _, err := e.connect(ctx, false)
		if err != nil {
			return err
		}
		defer c.Close()
		s, err := e.placeCall(ctx, c, args[0], *o, *duration, *ring)
		if err != nil {
			return err
		}
		s.print(e.out)
		return s.exitFor()
	}
}

// placeCall calls a number and talks. Texts that come meanwhile stay in the
// mailbox, other calls hear that this device is busy.
func (e *env) placeCall(ctx context.Context, c *client.Client, number string, o mediaOptions, duration, ring time.Duration) (summary, error) {
	id := client.NewID()
	ictx, cancel := context.WithTimeoutCause(ctx, 15*time.Second, errors.New("the server gave no ICE servers in time"))
	ice, err := c.ICE(ictx, id)
	cancel()
	if err != nil {
		return summary{}, err
	}
	p, err := newPhone(ice, protocol.Caller, o, e.out)
	if err != nil {
		return summary{}, err
	}
	closed := false
	defer func() {
		if !closed {
			p.close()
		}
	}()
	sdp, err := p.offer()
	if err != nil {
		return summary{}, err
	}
	merged := make(chan *client.Call, 1)
	stop := e.answerBusy(ctx, c, merged)
	defer stop()
	call, reply, err := c.Invite(ctx, id, number, []protocol.Media{protocol.Audio}, sdp)
	if err != nil {
		return summary{}, err
	}
	if reply.Merged != "" {
		return e.takeMerged(ctx, p, merged, o, duration)
	}
	e.out.event("calling", "number", reply.To.E164(), "call", id)
	closed = true
	return e.talk(ctx, p, call, duration, ring)
}

// takeMerged answers the call that the other side has begun at the same moment.
func (e *env) takeMerged(ctx context.Context, p *phone, merged <-chan *client.Call, o mediaOptions, duration time.Duration) (summary, error) {
	e.out.event("both called at once")
	select {
	case call := <-merged:
		return e.answerCall(ctx, call, nil, o, duration)
	case <-time.After(10 * time.Second):
		return summary{}, errors.New("the other side's call did not come")
	case <-ctx.Done():
		return summary{}, ctx.Err()
	}
}

// answerBusy reads the client's events while a call goes on.
func (e *env) answerBusy(ctx context.Context, c *client.Client, merged chan<- *client.Call) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-ctx.Done():
				return
			case ev, ok := <-c.Events():
				if !ok {
					return
				}
				switch ev := ev.(type) {
				case client.Incoming:
					if ev.Merged {
						select {
						case merged <- ev.Call:
						default:
						}
						continue
					}
					bctx, done := context.WithTimeout(ctx, 10*time.Second)
					if err := ev.Call.Busy(bctx); err != nil {
						e.out.say("softphone: a second call: %v", err)
					}
					done()
				case client.Disconnected:
					e.out.event("signaling lost", "retry", ev.Retry)
				}
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// talk carries a call to its end and returns how it went. It closes the phone.
func (e *env) talk(ctx context.Context, p *phone, call *client.Call, duration, ring time.Duration) (summary, error) {
	p.player.start()
	hangUp := make(chan struct{})
	tctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	watch := make(chan struct{})
	var path *protocol.Path
	var rtt time.Duration
	go func() { // hangs up when it is time, and notes the path while there is one
		defer close(watch)
		p.watch(ctx, tctx, duration, ring, func() { close(hangUp) }, func() {
			if now := p.path(); now != nil {
				path = now
			}
			if now := p.roundTrip(); now > 0 {
				rtt = now
			}
		})
	}()
	end, err := p.talk(tctx, call, hangUp)
	cancel()
	<-watch
	s := p.summary(end, path, rtt)
	return s, errors.Join(err, p.close())
}

// watch ends when talk does. It calls hangUp at most once.
func (p *phone) watch(user, talk context.Context, duration, ring time.Duration, hangUp, note func()) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var up time.Time
	hung := false
	for {
		select {
		case <-talk.Done():
			return
		case <-user.Done():
			if !hung {
				hung = true
				hangUp()
			}
			user = context.Background()
		case <-tick.C:
		}
		if p.pc.ConnectionState().String() == "connected" {
			note()
			if up.IsZero() {
				up = time.Now()
			}
		}
		tired := ring > 0 && up.IsZero() && p.pc.RemoteDescription() == nil && time.Since(began) > ring
		enough := duration > 0 && !up.IsZero() && time.Since(up) > duration
		if (tired || enough) && !hung {
			hung = true
			hangUp()
		}
	}
}

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
	early, end := l.ring(ctx, call)
	if end != nil {
		l.out.event("missed", "reason", end.Reason)
		return nil
	}
	s, err := l.answerCall(ctx, call, early, l.media, l.duration)
	if err != nil {
		return err
	}
	s.print(l.out)
	return nil
}

// ring lets the call ring as long as was asked. It returns what has come
// meanwhile, or the end if that comes first.
func (l *listening) ring(ctx context.Context, call *client.Call) (early []client.CallEvent, end *protocol.CallEnded) {
	if l.answer == "auto" && l.after == 0 {
		return nil, nil
	}
	if l.answer == "auto" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.after)
		defer cancel()
	}
	for {
		e, err := call.Next(ctx)
		if err != nil {
			return early, nil
		}
		if end, ok := e.(client.Ended); ok {
			return nil, &end.CallEnded
		}
		early = append(early, e)
	}
}

// answerCall takes an incoming call and talks. early is what has come for it
// already.
func (e *env) answerCall(ctx context.Context, call *client.Call, early []client.CallEvent, o mediaOptions, duration time.Duration) (summary, error) {
	p, err := newPhone(call.ICE(), protocol.Callee, o, e.out)
	if err != nil {
		return summary{}, err
	}
	sdp, err := p.answer(call.Offer())
	for _, ev := range early {
		if err == nil {
			err = p.handle(ctx, ev)
		}
	}
	if err == nil {
		actx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err = call.Answer(actx, sdp)
		cancel()
	}
	if err != nil {
		return summary{}, errors.Join(fmt.Errorf("not answered: %w", err), p.close())
	}
	p.times.answered = time.Now()
	e.out.event("answered", "from", call.Peer().E164())
	return e.talk(ctx, p, call, duration, 0)
}
