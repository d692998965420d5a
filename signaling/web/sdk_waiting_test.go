package web_test

import (
	"strings"
	"testing"

	"switchboard/signaling/protocol"
)

const third = "+13105550144"

// waits carries a call to where media flows and has a second one ring beside it.
func (st *stage) waits(p *peer) (first *protocol.CallInvite) {
	st.t.Helper()
	st.page.eval(`client.callWaiting = true`)
	first = st.talking(p)
	st.page.eval(`window.first = call; window.near = far;` + far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallIncoming, incoming("c2", sdp, fields{"from": third}))
	ringing := new(protocol.CallRinging)
	decode(st.t, p.find(protocol.TypeCallRinging), ringing)
	if ringing.Call != "c2" || !ringing.Waiting {
		st.t.Errorf("%q rings, waiting %v", ringing.Call, ringing.Waiting)
	}
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.second = told.find((e) => e.type === 'call').detail`)
	if !value[bool](st.page, `second.waiting && !first.waiting && second.state === 'ringing' && first.state === 'active' && !first.held`) {
		st.t.Error("it does not wait, or the first call has changed")
	}
	return first
}

// answered lets the second call be answered.
func (st *stage) answered(p *peer) {
	st.t.Helper()
	p.ok(p.find(protocol.TypeCallAnswer), fields{"call": "c2", "state": "connecting"})
	st.page.wait(`second.isAnswered && second.pc.getSenders().some((s) => s.track)`)
}

// described returns what the SDK describes of a call next.
func (p *peer) described(call string) *protocol.CallDescribe {
	p.t.Helper()
	for {
		f := p.find(protocol.TypeCallDescribe)
		d := new(protocol.CallDescribe)
		decode(p.t, f, d)
		if d.Call == call {
			p.ok(f, fields{"call": call, "state": "active"})
			return d
		}
	}
}

// The first call is held before the second is answered, so that one has media at a
// time; resuming the first holds the second.
func TestSecondCallIsAnswered(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	first := st.waits(p)
	st.page.eval(`second.accept()`)
	offer := new(protocol.CallDescribe)
	for answered := false; !answered || offer.Call == ""; { // in either order
		switch f := p.next(); f.T {
		case protocol.TypeCallAnswer:
			answered = true
			p.ok(f, fields{"call": "c2", "state": "connecting"})
		case protocol.TypeCallDescribe:
			decode(t, f, offer)
		}
	}
	if offer.Call != first.Call || offer.Kind != "offer" || !strings.Contains(offer.SDP, "a=sendonly") {
		t.Errorf("%q is described as %s, or is not on hold", offer.Call, offer.Kind)
	}
	st.page.wait(`second.isAnswered && second.pc.getSenders().some((s) => s.track)`)
	if !value[bool](st.page, `first.held && !second.held && !second.waiting && first.state === 'active' && first.pc.getSenders().every((s) => !s.track)`) {
		t.Error("the first call is not on hold, or the second is")
	}

	st.page.eval(`first.resume()`)
	if !value[bool](st.page, `!first.held && second.held`) {
		t.Error("both calls have media")
	}
	st.page.wait(`second.pc.getSenders().every((s) => !s.track)`)

	// What ends is taken from the calls; the other stays as it is.
	p.tell(protocol.TypeCallEnded, fields{"call": first.Call, "reason": "hangup"})
	st.page.wait(`first.state === 'ended' && client.calls.size === 1 && second.held`)
}

func TestSecondCallInTheFirstOnesPlace(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	first := st.waits(p)
	st.page.eval(`second.accept({others: 'end'})`)
	f := p.findBut(protocol.TypeCallAnswer, protocol.TypeCallHangup) // it could be refused
	p.ok(f, fields{"call": "c2", "state": "connecting"})
	hangup := new(protocol.CallHangup)
	decode(t, p.find(protocol.TypeCallHangup), hangup)
	if hangup.Call != first.Call {
		t.Errorf("hangs %q up", hangup.Call)
	}
	st.page.wait(`first.state === 'ended' && first.mine && second.isAnswered && client.calls.size === 1`)
}

// Somebody else was faster: the first call goes on as it was.
func TestSecondCallIsAnsweredElsewhere(t *testing.T) {
	for _, others := range []string{"hold", "end"} {
		t.Run(others, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			first := st.waits(p)
			st.page.eval(`second.accept({others: '` + others + `'})`)
			p.refuse(p.find(protocol.TypeCallAnswer), protocol.NewError(protocol.CodeCallEnded, "over").With("reason", "answered_elsewhere"))
			st.page.wait(`second.state === 'ended' && first.state === 'active' && !first.held`)
			p.quiet(st, protocol.TypeCallHangup)
			st.page.wait(`first.pc.getSenders().some((s) => s.track)`)
			same(t, "calls", []string{first.Call}, value[[]string](st.page, `[...client.calls.keys()]`))
		})
	}
}

func TestSecondCallIsDeclined(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.waits(p)
	st.page.eval(`second.reject()`)
	reject := new(protocol.CallReject)
	decode(t, p.find(protocol.TypeCallReject), reject)
	if reject.Call != "c2" || !value[bool](st.page, `first.state === 'active' && !first.held && first.pc.getSenders().some((s) => s.track)`) {
		t.Errorf("declines %q, or the first call has changed", reject.Call)
	}
}

// There is one at a time: with two a further one finds this device busy, as it does
// while one rings here.
func TestThirdCallIsBusy(t *testing.T) {
	for name, more := range map[string]func(st *stage, p *peer){
		"while the second rings": func(*stage, *peer) {},
		"in two calls": func(st *stage, p *peer) {
			st.page.eval(`second.accept()`)
			st.answered(p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			st.waits(p)
			more(st, p)
			p.tell(protocol.TypeCallIncoming, incoming("c3", "v=0", fields{"from": "+14155550155"}))
			busy := new(protocol.CallBusy)
			decode(t, p.find(protocol.TypeCallBusy), busy)
			if busy.Call != "c3" || value[int](st.page, `happened('call')`) != 1 {
				t.Errorf("busy for %q, or it rings", busy.Call)
			}
		})
	}
}

// The first call ends while the second rings: that waits no longer.
func TestSecondCallIsAlone(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.waits(p)
	st.page.eval(`window.changed = 0; second.addEventListener('change', () => changed++); first.hangup()`)
	if !value[bool](st.page, `!second.waiting && changed === 1 && second.state === 'ringing'`) {
		t.Error("it still waits, or nobody was told that it does not")
	}
}

// A call that is being placed cannot be held: answering another gives it up.
func TestSecondCallWhileOneIsPlaced(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`client.callWaiting = true`)
	m := st.invited(p, `{}`)
	st.page.eval(`window.first = call;` + far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallIncoming, incoming("c2", sdp, fields{"from": third}))
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.second = told.find((e) => e.type === 'call').detail; second.accept()`)
	hangup := new(protocol.CallHangup)
	decode(t, p.find(protocol.TypeCallHangup), hangup)
	if hangup.Call != m.Call {
		t.Errorf("hangs %q up", hangup.Call)
	}
	st.answered(p)
	st.page.wait(`first.reason === 'canceled' && client.calls.size === 1`)
}

// Placing another call holds the first.
func TestSecondCallIsPlaced(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	first := st.talking(p)
	st.page.eval(`window.first = call; window.second = client.call('` + third + `')`)
	if d := p.described(first.Call); !strings.Contains(d.SDP, "a=sendonly") {
		t.Error("the first call is not on hold")
	}
	if !value[bool](st.page, `first.held && first.state === 'active' && second.state === 'starting' && client.calls.size === 2`) {
		t.Error("the first call is not on hold, or has ended")
	}
}

// The caller is told that whoever rings is in another call.
func TestTheOtherSideIsInACall(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.invited(p, `{}`)
	p.tell(protocol.TypeCallRinging, fields{"call": m.Call, "waiting": true})
	st.page.wait(`call.state === 'ringing' && call.peerInCall`)
	p.tell(protocol.TypeCallState, fields{"call": m.Call, "state": "ringing"}) // which does not say
	st.page.wait(`call.peerInCall`)
}
