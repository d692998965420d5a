package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

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
	ice, err := c.ICETo(ictx, id, number)
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
	other := e.otherCalls(ctx, c)
	defer other.stop()
	call, reply, err := c.Invite(ctx, id, number, []protocol.Media{protocol.Audio}, sdp)
	other.invited <- reply.Merged
	if err != nil {
		return summary{}, err
	}
	if reply.Merged != "" {
		return e.takeMerged(ctx, other, o, duration)
	}
	e.out.event("calling", "number", reply.To.E164(), "call", id)
	closed = true
	return e.talk(ctx, p, call, duration, ring)
}

// takeMerged answers the call that the other side has begun at the same moment.
func (e *env) takeMerged(ctx context.Context, other *otherCalls, o mediaOptions, duration time.Duration) (summary, error) {
	e.out.event("both called at once")
	select {
	case call := <-other.merged:
		return e.answerCall(ctx, call, nil, o, duration)
	case <-time.After(10 * time.Second):
		return summary{}, errors.New("the other side's call did not come")
	case <-ctx.Done():
		return summary{}, ctx.Err()
	}
}

// talk carries a call to its end and returns how it went. It closes the phone.
func (e *env) talk(ctx context.Context, p *phone, call *client.Call, duration, ring time.Duration) (summary, error) {
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
		p.mu.Lock()
		pc, answered := p.pc, !p.times.answered.IsZero()
		p.mu.Unlock()
		if answered && pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
			note()
			if up.IsZero() {
				up = time.Now()
			}
		}
		tired := ring > 0 && !answered && time.Since(began) > ring
		enough := duration > 0 && !up.IsZero() && time.Since(up) > duration
		if (tired || enough) && !hung {
			hung, p.gaveUp = true, tired
			hangUp()
		}
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
			err = p.handle(ev)
		}
	}
	if err != nil {
		return summary{}, errors.Join(fmt.Errorf("not answered: %w", err), p.close())
	}
	return e.answerWith(ctx, p, call, sdp, duration)
}

// answerWith answers with a description that the phone has made, and talks. It
// closes the phone.
func (e *env) answerWith(ctx context.Context, p *phone, call *client.Call, sdp string, duration time.Duration) (summary, error) {
	actx, cancel := context.WithTimeout(ctx, 30*time.Second)
	err := call.Answer(actx, sdp)
	cancel()
	if err != nil {
		return summary{}, errors.Join(fmt.Errorf("not answered: %w", err), p.close())
	}
	p.setAnswered()
	p.player.start()
	e.out.event("answered", "from", call.Peer().E164())
	return e.talk(ctx, p, call, duration, 0)
}
