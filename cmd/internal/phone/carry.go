package phone

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

const (
	// batchFor is how long candidates are collected before they are sent.
	batchFor = 100 * time.Millisecond
	// The caller restarts ICE first; the callee if that does not help.
	restartAfterCaller, restartAfterCallee = 3 * time.Second, 6 * time.Second
)

// follow begins to read the call's events and to make requests about it.
func (p *phone) follow(call *client.Call) {
	if p.call != nil {
		return
	}
	ctx, leave := context.WithCancel(context.Background())
	p.call, p.life, p.leave, p.events = call, ctx, leave, make(chan client.CallEvent)
	p.tasks.Go(func() {
		defer close(p.events)
		for {
			e, err := call.Next(ctx)
			if err != nil {
				return
			}
			select {
			case p.events <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	p.tasks.Go(func() { p.makeRequests(ctx) })
}

// talk carries the call until it ends and returns why. hangUp ends it from
// this side.
func (p *phone) talk(ctx context.Context, call *client.Call, hangUp <-chan struct{}) (protocol.CallEnded, error) {
	p.follow(call)
	p.open = true
	p.sendCandidates()
	p.catchUp()
	end, err := p.carry(ctx, hangUp, nil)
	if end == nil {
		return protocol.CallEnded{}, err
	}
	return *end, err
}

// carry handles what happens until the call ends, or it is time to answer it.
func (p *phone) carry(ctx context.Context, hangUp <-chan struct{}, answer <-chan time.Time) (*protocol.CallEnded, error) {
	figures := time.NewTicker(figuresEvery)
	defer figures.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	var late <-chan time.Time
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				return nil, errors.New("the session ended in the call")
			}
			if end, ok := e.(client.Ended); ok {
				p.times.ended = time.Now()
				p.story.add(Ended, string(end.Reason))
				p.lastFigures(ctx)
				return &end.CallEnded, nil
			}
			if err := p.handle(e); err != nil {
				p.o.warn(err)
			}
		case c := <-p.found:
			if p.take(c); p.flush == nil {
				p.flush = time.After(batchFor)
			}
		case <-p.opened:
			p.open = true
			p.sendCandidates()
		case <-p.flush:
			p.sendCandidates()
		case s := <-p.changes:
			p.connection(s)
		case <-p.restartAt:
			p.restart()
		case <-look.C:
			p.look()
		case <-p.heardServer:
			p.restart()
		case <-figures.C:
			if r := p.figures(); !p.times.answered.IsZero() && r.Media == protocol.MediaConnected {
				p.report(r)
			}
		case <-hangUp:
			hangUp, late = nil, time.After(hangUpWithin)
			p.tasks.Go(p.hangUp)
		case <-late:
			return nil, errors.New("the server did not say in time that the call has ended")
		case <-answer:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// hangUpWithin is how long a hangup may take. If the server cannot be reached for so long,
// it ends the call itself.
const hangUpWithin = 2 * time.Minute

// hangUp tells the server. That the call has ended comes as an event.
func (p *phone) hangUp() {
	p.call.Check() // nobody waits gladly for this
	p.lastFigures(p.life)
	ctx, cancel := context.WithTimeout(p.life, hangUpWithin)
	defer cancel()
	_ = p.call.Hangup(ctx, "") // who waits for the end finds out
}

func (p *phone) handle(e client.CallEvent) error {
	switch e := e.(type) {
	case client.Ringing:
		if p.times.rang.IsZero() {
			p.times.rang = time.Now()
			p.story.add(Ringing, "")
		}
		p.o.tell("ringing", "after", p.times.rang.Sub(p.times.began), "beside_another_call", e.Waiting)
	case client.Prepared:
		if !p.mayPrepare() {
			return nil // it waits for the answer
		}
		p.prepared = e.SDP
		return p.remote(webrtc.SDPTypeAnswer, e.SDP)
	case client.Answered:
		return p.answered(e.SDP)
	case client.Candidates:
		var errs []error
		for _, c := range e.Candidates {
			errs = append(errs, p.candidate(c))
		}
		return errors.Join(errs...)
	case client.Description:
		return p.described(e.CallDescribe)
	case client.State:
		p.o.tell(string(e.State))
		if e.ICE != nil {
			p.ice = *e.ICE
		}
		p.o.RelayOnly = p.o.RelayOnly || e.RelayOnly
		if e.ICE != nil || e.RelayOnly {
			if err := p.pc.SetConfiguration(p.configuration(p.ice, p.o.RelayOnly)); err != nil {
				return fmt.Errorf("other servers: %w", err)
			}
		}
		if e.Restart {
			p.restart()
		}
	}
	return nil
}

// connection reports the state of the media and restarts ICE when it is lost. Before the
// answer the server wants to hear of neither: they wait for [phone.catchUp].
func (p *phone) connection(s webrtc.PeerConnectionState) {
	if p.times.answered.IsZero() {
		p.early = s
		return
	}
	switch s {
	case webrtc.PeerConnectionStateConnected:
		p.restartAt = nil
		path := p.path()
		p.o.tell("media", "path", PathWord(path), "relay", serverOf(path))
		p.report(protocol.CallReport{Media: protocol.MediaConnected, Path: path})
	case webrtc.PeerConnectionStateDisconnected:
		p.o.tell("media lost")
		p.call.Check() // it may be that the whole network has gone
		p.restartAt = time.After(p.restartAfter())
		p.report(protocol.CallReport{Media: protocol.MediaDisconnected})
	case webrtc.PeerConnectionStateFailed:
		p.restartAt = time.After(p.restartAfter() - restartAfterCaller)
		p.report(protocol.CallReport{Media: protocol.MediaFailed})
	}
}

// catchUp handles what has become of the connection before the answer.
func (p *phone) catchUp() {
	s := p.early
	p.early = webrtc.PeerConnectionStateUnknown
	p.connection(s)
}

// report tells the server of the media, of a call that has been answered.
func (p *phone) report(r protocol.CallReport) {
	p.request("report", func(ctx context.Context) error { return p.call.Report(ctx, r) })
}

func (p *phone) restartAfter() time.Duration {
	if p.role == protocol.Caller {
		return restartAfterCaller
	}
	return restartAfterCallee
}
