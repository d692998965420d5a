package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// offer makes the first offer. Candidates begin to be found.
func (p *phone) offer() (string, error) {
	d, err := p.pc.CreateOffer(nil)
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		return "", fmt.Errorf("offer: %w", err)
	}
	return d.SDP, nil
}

// answer takes an offer and answers it.
func (p *phone) answer(offer string) (string, error) {
	p.order.begin(p.ice) // a restart of the other side is one of this side
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("offer of the other side: %w", err)
	}
	d, err := p.pc.CreateAnswer(nil)
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	return d.SDP, nil
}

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
	p.call, p.leave, p.events = call, leave, make(chan client.CallEvent)
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
	if p.connectedEarly() {
		p.connection(webrtc.PeerConnectionStateConnected)
	}
	end, err := p.carry(ctx, hangUp, nil)
	if end == nil {
		return protocol.CallEnded{}, err
	}
	return *end, err
}

// ring carries the call while it rings here, until it is time to answer. It returns
// the end if that comes first.
func (p *phone) ring(ctx context.Context, call *client.Call, answer <-chan time.Time) (*protocol.CallEnded, error) {
	p.follow(call)
	return p.carry(ctx, nil, answer)
}

// carry handles what happens until the call ends, or it is time to answer it.
func (p *phone) carry(ctx context.Context, hangUp <-chan struct{}, answer <-chan time.Time) (*protocol.CallEnded, error) {
	figures := time.NewTicker(figuresEvery)
	defer figures.Stop()
	for {
		select {
		case e, ok := <-p.events:
			if !ok {
				return nil, errors.New("the session ended in the call")
			}
			if end, ok := e.(client.Ended); ok {
				p.times.ended = time.Now()
				p.lastFigures(ctx)
				return &end.CallEnded, nil
			}
			if err := p.handle(e); err != nil {
				p.out.say("softphone: %v", err)
			}
		case c := <-p.found:
			if p.batch = append(p.batch, c); p.flush == nil {
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
		case <-figures.C:
			if r := p.figures(); !p.times.answered.IsZero() && r.Media == protocol.MediaConnected {
				p.request("report", func(ctx context.Context) error { return p.call.Report(ctx, r) })
			}
		case <-hangUp:
			hangUp = nil
			p.tasks.Go(func() {
				hctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
				defer cancel()
				p.lastFigures(hctx)
				_ = p.call.Hangup(hctx, "") // the end comes as an event, or the session is gone
			})
		case <-answer:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// request is something to be asked of the server about the call.
type request struct {
	what string
	do   func(context.Context) error
}

// maxRequests is how many requests may wait, as for a session that comes back.
const maxRequests = 256

// request makes a request in its turn, beside the events, which its answer must
// not hold up.
func (p *phone) request(what string, do func(context.Context) error) {
	select {
	case p.requests <- request{what, do}:
	default:
		p.out.say("softphone: %s: too much waits for the server", what)
	}
}

// makeRequests makes one request after the other: the other side takes what
// comes out of order for a repeat.
func (p *phone) makeRequests(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-p.requests:
			rctx, cancel := context.WithTimeout(ctx, 30*time.Second)
			err := r.do(rctx)
			cancel()
			if err != nil && protocol.CodeOf(err) != protocol.CodeCallEnded && ctx.Err() == nil {
				p.out.say("softphone: %s: %v", r.what, err)
			}
		}
	}
}

func (p *phone) handle(e client.CallEvent) error {
	switch e := e.(type) {
	case client.Ringing:
		if p.times.rang.IsZero() {
			p.times.rang = time.Now()
		}
		p.out.event("ringing", "after", p.times.rang.Sub(p.times.began), "beside_another_call", e.Waiting)
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
		p.out.event(string(e.State))
		if e.ICE != nil {
			p.ice = *e.ICE
		}
		p.o.relayOnly = p.o.relayOnly || e.RelayOnly
		if e.ICE != nil || e.RelayOnly {
			if err := p.pc.SetConfiguration(p.configuration(p.ice, p.o.relayOnly)); err != nil {
				return fmt.Errorf("other servers: %w", err)
			}
		}
		if e.Restart {
			p.restart()
		}
	}
	return nil
}

// answered lets media flow. If another device has answered than the one that is
// prepared, it begins anew.
func (p *phone) answered(sdp string) error {
	p.setAnswered()
	p.out.event("answered", "after", p.times.answered.Sub(p.times.began), "prepared", sdp == p.prepared)
	p.player.start()
	switch {
	case sdp == "": // it was missed
	case p.prepared == "":
		return p.remote(webrtc.SDPTypeAnswer, sdp)
	case p.prepared == sdp:
		if p.connectedEarly() {
			p.connection(webrtc.PeerConnectionStateConnected)
		}
		return nil
	}
	if err := p.connect(); err != nil {
		return err
	}
	offer, err := p.offer()
	if err != nil {
		return err
	}
	p.request("new connection", func(ctx context.Context) error { return p.call.Renew(ctx, offer) })
	return nil
}

// setAnswered notes that media may flow from now on.
func (p *phone) setAnswered() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times.answered = time.Now()
}

// connectedEarly reports whether the connection was there before the answer.
func (p *phone) connectedEarly() bool {
	return !p.times.answered.IsZero() && p.times.connected.Before(p.times.answered) && p.pc.ConnectionState() == webrtc.PeerConnectionStateConnected
}

// mayPrepare reports whether the connection may be set up before the answer. With
// relays alone until then it is not: this phone looks for all kinds of candidates, and
// would go to the other side from its own address.
func (p *phone) mayPrepare() bool { return p.ice.Policy != protocol.PolicyRelayFirst }

// prepare sends what this device will answer with, while it rings.
func (p *phone) prepare(sdp string) {
	p.prepared = sdp
	p.request("prepare", func(ctx context.Context) error {
		chosen, err := p.call.Prepare(ctx, sdp)
		if chosen {
			p.opened <- struct{}{}
		}
		return err
	})
}

func (p *phone) remote(kind webrtc.SDPType, sdp string) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: sdp}); err != nil {
		return fmt.Errorf("description of the other side: %w", err)
	}
	p.takePending()
	p.restartIfWanted()
	return nil
}

func (p *phone) candidate(c protocol.Candidate) error {
	if c.Candidate == "" {
		return nil
	}
	init := webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: &c.Mid}
	if c.MLine != nil {
		line := uint16(*c.MLine)
		init.SDPMLineIndex = &line
	}
	if p.pc.RemoteDescription() == nil {
		p.pending = append(p.pending, init)
		return nil
	}
	if err := p.pc.AddICECandidate(init); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	return nil
}

// takePending adds the candidates that came before the description.
func (p *phone) takePending() {
	for _, c := range p.pending {
		if err := p.pc.AddICECandidate(c); err != nil {
			p.out.say("softphone: candidate: %v", err)
		}
	}
	p.pending = nil
}

// described takes a description inside the call, as perfect negotiation has
// it: when both offer at once, the polite callee takes its offer back.
func (p *phone) described(d protocol.CallDescribe) error {
	switch d.Kind {
	case "answer":
		if p.pc.SignalingState() != webrtc.SignalingStateHaveLocalOffer {
			return nil // to an offer that was taken back
		}
		return p.remote(webrtc.SDPTypeAnswer, d.SDP)
	case "offer":
		if d.Renew {
			if err := p.connect(); err != nil {
				return err
			}
		}
		if p.pc.SignalingState() != webrtc.SignalingStateStable {
			if p.role == protocol.Caller {
				return nil // impolite: ours stands
			}
			if err := p.pc.SetLocalDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeRollback}); err != nil {
				return fmt.Errorf("take the offer back: %w", err)
			}
		}
		p.sendCandidates() // of the generation that ends
		sdp, err := p.answer(d.SDP)
		if err != nil {
			return err
		}
		p.request("answer", func(ctx context.Context) error { return p.call.Describe(ctx, "answer", sdp, false) })
		p.restartIfWanted()
	}
	return nil
}

// restart makes an offer that restarts ICE, as soon as no other is open.
func (p *phone) restart() {
	p.restartAt = nil
	if p.restartWanted = p.pc.SignalingState() != webrtc.SignalingStateStable; p.restartWanted {
		return
	}
	p.sendCandidates() // of the generation that ends
	p.restarts++
	p.out.event("ice restart")
	p.order.begin(p.ice)
	d, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		p.out.say("softphone: ICE restart: %v", err)
		return
	}
	p.request("ICE restart", func(ctx context.Context) error { return p.call.Describe(ctx, "offer", d.SDP, true) })
}

func (p *phone) restartIfWanted() {
	if p.restartWanted {
		p.restart()
	}
}

// connection reports the state of the media and restarts ICE when it is lost.
func (p *phone) connection(s webrtc.PeerConnectionState) {
	switch s {
	case webrtc.PeerConnectionStateConnected:
		p.restartAt = nil
		if p.times.connected.IsZero() {
			p.times.connected = time.Now()
		}
		ice := p.ice
		p.request("report", func(ctx context.Context) error {
			p.findServer(ctx, ice)
			path := p.path()
			p.out.event("media", "path", pathWord(path), "relay", serverOf(path))
			return p.call.Report(ctx, protocol.CallReport{Media: protocol.MediaConnected, Path: path})
		})
	case webrtc.PeerConnectionStateDisconnected:
		p.out.event("media lost")
		p.restartAt = time.After(p.restartAfter())
		p.request("report", func(ctx context.Context) error {
			return p.call.Report(ctx, protocol.CallReport{Media: protocol.MediaDisconnected})
		})
	case webrtc.PeerConnectionStateFailed:
		p.restartAt = time.After(p.restartAfter() - restartAfterCaller)
		p.request("report", func(ctx context.Context) error {
			return p.call.Report(ctx, protocol.CallReport{Media: protocol.MediaFailed})
		})
	}
}

func (p *phone) restartAfter() time.Duration {
	if p.role == protocol.Caller {
		return restartAfterCaller
	}
	return restartAfterCallee
}

// sendCandidates sends what has been found, in as many messages as it takes,
// under the name of the present generation: it is called before a description
// begins another.
func (p *phone) sendCandidates() {
	p.flush = nil
	for more := true; more; {
		select {
		case c := <-p.found:
			p.batch = append(p.batch, c)
		default:
			more = false
		}
	}
	d := p.pc.LocalDescription()
	if d == nil || len(p.batch) == 0 || !p.open {
		return
	}
	gen := protocol.Generation(d.SDP)
	end := slices.Contains(p.batch, nil)
	var list []protocol.Candidate
	for _, c := range p.batch {
		if c != nil {
			p.preferences.rank(gen, c)
			list = append(list, onWire(c.ToJSON()))
		}
	}
	p.batch = nil
	for chunk := range slices.Chunk(list, protocol.MaxBatch) {
		p.request("candidates", func(ctx context.Context) error { return p.call.SendCandidates(ctx, gen, chunk, false) })
	}
	if end {
		p.request("candidates", func(ctx context.Context) error { return p.call.SendCandidates(ctx, gen, nil, true) })
	}
}

func onWire(c webrtc.ICECandidateInit) protocol.Candidate {
	k := protocol.Candidate{Candidate: c.Candidate}
	if c.SDPMid != nil {
		k.Mid = *c.SDPMid
	}
	if c.SDPMLineIndex != nil {
		line := int(*c.SDPMLineIndex)
		k.MLine = &line
	}
	return k
}
