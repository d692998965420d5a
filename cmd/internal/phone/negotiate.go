package phone

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"

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
	p.network.begin(p.ice) // a restart of the other side is one of this side
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("offer of the other side: %w", err)
	}
	p.takePending()
	d, err := p.pc.CreateAnswer(nil)
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		return "", fmt.Errorf("answer: %w", err)
	}
	return d.SDP, nil
}

// freshFor is how long an answer is good that waits for somebody to take the call: ICE
// gives up after 30 s on its own.
const freshFor = 25 * time.Second

// freshAnswer is the answer to an offer once it is time for it: the one that was made when
// the call came, unless nothing has become of it for too long.
func (p *phone) freshAnswer(offer, made string) (string, error) {
	if time.Since(p.times.began) < freshFor || p.pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
		return made, nil
	}
	if err := p.connect(); err != nil {
		return "", err
	}
	p.pending = p.came
	return p.answer(offer)
}

// answered lets media flow. If another device has answered than the one that is
// prepared, it begins anew.
func (p *phone) answered(sdp string) error {
	p.setAnswered()
	p.o.tell("answered", "after", p.times.answered.Sub(p.times.began), "prepared", sdp == p.prepared)
	p.player.start()
	switch {
	case sdp == "": // it was missed
	case p.prepared == "":
		return p.remote(webrtc.SDPTypeAnswer, sdp)
	case p.prepared == sdp:
		p.catchUp()
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
	p.story.addAt(p.times.answered, Answered, "")
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

// described takes a description inside the call, as perfect negotiation has
// it: when both offer at once, the polite callee takes its offer back.
func (p *phone) described(d protocol.CallDescribe) error {
	switch d.Kind {
	case "answer":
		if p.pc.SignalingState() != webrtc.SignalingStateHaveLocalOffer {
			return nil // to an offer that was taken back
		}
		late := time.Since(p.offered) > lateAnswer && p.role == protocol.Caller && !p.o.RelayOnly
		err := p.remote(webrtc.SDPTypeAnswer, d.SDP)
		if err == nil && late && !p.again && p.pc.SignalingState() == webrtc.SignalingStateStable {
			p.restart()
			p.again = true
		}
		return err
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
			if err := p.rollBack(); err != nil {
				return fmt.Errorf("take the offer back: %w", err)
			}
		}
		p.sendCandidates() // of the generation that ends
		if now := p.pc.RemoteDescription(); now != nil && protocol.Generation(now.SDP) != protocol.Generation(d.SDP) {
			p.pairs.count(p.pc)
			p.story.add(Restarted, "by the other side")
		}
		sdp, err := p.answer(d.SDP)
		if err != nil {
			return err
		}
		p.request("answer", func(ctx context.Context) error { return p.call.Describe(ctx, "answer", sdp, false) })
		p.restartIfWanted()
	}
	return nil
}

// rollBack takes back the offer that is open, inside a call. The ICE library knows no
// rollback (RFC 8829 section 4.1.10.2); it is told instead that the other side has
// answered with what it has said before.
func (p *phone) rollBack() error {
	before := p.pc.CurrentRemoteDescription()
	if before == nil {
		return errors.New("the other side has not described itself")
	}
	sdp := strings.ReplaceAll(before.SDP, "a=setup:actpass", "a=setup:active") // as an answer must (RFC 5763 section 5)
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

// lateAnswer is when an answer to a restart is late: the ICE library, of the caller who
// decides, takes a relay from 2 s after the restart on and needs up to 1 s for a direct path.
// What kept the answer away is over; with one more restart both begin at the same time.
const lateAnswer = time.Second

// restart makes an offer that restarts ICE, as soon as no other is open.
func (p *phone) restart() {
	p.restartAt = nil
	if p.restartWanted = p.pc.SignalingState() != webrtc.SignalingStateStable; p.restartWanted {
		return
	}
	p.sendCandidates() // of the generation that ends
	p.pairs.count(p.pc)
	p.restarts++
	p.offered, p.again = time.Now(), false
	p.story.add(Restarted, "by this side")
	p.o.tell("ice restart")
	p.network.begin(p.ice)
	d, err := p.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err == nil {
		err = p.pc.SetLocalDescription(d)
	}
	if err != nil {
		p.o.warn(fmt.Errorf("ICE restart: %w", err))
		return
	}
	p.request("ICE restart", func(ctx context.Context) error { return p.call.Describe(ctx, "offer", d.SDP, true) })
}

func (p *phone) restartIfWanted() {
	if p.restartWanted {
		p.restart()
	}
}
