package web_test

import (
	"fmt"
	"testing"

	"switchboard/signaling/protocol"
)

// rung brings a call to the SDK that is not answered yet.
func (st *stage) rung(p *peer, ice fields) {
	st.t.Helper()
	st.page.eval(far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallIncoming, incoming("c1", sdp, fields{"ice": ice}))
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.call = told.find((e) => e.type === 'call').detail`)
}

const (
	// sends is whether any sender of the call has a track.
	sends = `call.pc.getSenders().some((s) => s.track)`
	// policy is which candidates the connection may use.
	policy = `call.pc.getConfiguration().iceTransportPolicy`
)

// aRelay is one that nobody reaches.
var aRelay = []any{fields{"urls": []string{"turn:127.0.0.1:9"}, "username": "u", "credential": "c"}}

// The callee prepares without opening the microphone, and sends nothing before it
// answers, with the same description.
func TestPrepare(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.rung(p, noICE)
	f := p.find(protocol.TypeCallPrepare)
	prepare := new(protocol.CallPrepare)
	decode(t, f, prepare)
	p.quiet(st, protocol.TypeCallCandidates)
	p.ok(f, fields{"call": "c1", "state": "ringing", "prepared": true})
	p.find(protocol.TypeCallCandidates)
	st.page.eval(`await far.setRemoteDescription({type: 'answer', sdp: ` + quote(prepare.SDP) + `})`)
	if value[bool](st.page, `call.localStream !== null || `+sends) {
		t.Error("the microphone is open, or something is sent, before the answer")
	}
	st.page.eval(`call.accept()`)
	f = p.find(protocol.TypeCallAnswer)
	answer := new(protocol.CallAnswer)
	decode(t, f, answer)
	if answer.SDP != prepare.SDP {
		t.Error("it answers with another description than the one that was prepared")
	}
	if value[bool](st.page, sends) {
		t.Error("something is sent before the answer is taken")
	}
	p.ok(f, fields{"call": "c1", "state": "connecting"})
	st.page.wait(sends)
}

// Where another device is prepared, the caller begins anew with this one.
func TestAnswerWithoutBeingPrepared(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.rung(p, noICE)
	p.ok(p.find(protocol.TypeCallPrepare), fields{"call": "c1", "state": "ringing"})
	st.page.wait(`call.pc === null`)
	st.page.eval(`call.accept()`)
	p.ok(p.find(protocol.TypeCallAnswer), fields{"call": "c1", "state": "connecting"})
	st.page.wait(sends)
	st.page.eval(`window.before = call.pc; far.close();` + far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallDescribe, fields{"call": "c1", "n": 1, "kind": "offer", "sdp": sdp, "renew": true})
	f := p.find(protocol.TypeCallDescribe)
	d := new(protocol.CallDescribe)
	decode(t, f, d)
	if d.Kind != "answer" || !value[bool](st.page, `call.pc !== before && before.signalingState === 'closed' && `+sends) {
		t.Errorf("described as %s, on the old connection or without sound", d.Kind)
	}
}

// The caller sends nothing before the answer, and then at once.
func TestPrepared(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.invited(p, `{}`)
	answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
	p.tell(protocol.TypeCallPrepared, fields{"call": m.Call, "sdp": answer})
	st.page.wait(`call.pc.connectionState === 'connected'`)
	if value[bool](st.page, sends) {
		t.Error("something is sent before the answer")
	}
	p.quiet(st, protocol.TypeCallReport)
	p.tell(protocol.TypeCallAnswered, fields{"call": m.Call, "sdp": answer})
	st.page.wait(sends)
	p.ok(p.find(protocol.TypeCallReport), nil)
	st.page.wait(`call.state === 'active'`)
}

// Another device answers than the one that is prepared, or the SDK has missed which
// did: it offers a new connection.
func TestRenew(t *testing.T) {
	for name, tell := range map[string]func(st *stage, p *peer, call string) *peer{
		"another answer": func(st *stage, p *peer, call string) *peer {
			p.tell(protocol.TypeCallAnswered, fields{"call": call, "sdp": "v=0 another"})
			return p
		},
		"an answer that was missed": func(st *stage, p *peer, call string) *peer {
			p.drop()
			p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{snapshot(call, "connecting", "caller", fields{"kind": "offer", "sdp": "v=0 later", "n": 1})}})
			return p2
		},
	} {
		for _, prepared := range []bool{true, false} {
			if name == "another answer" && !prepared {
				continue // that is any call
			}
			t.Run(fmt.Sprintf("%s, prepared %v", name, prepared), func(t *testing.T) {
				st := newStage(t)
				p := st.connect(nil)
				m := st.invited(p, `{}`)
				if prepared {
					answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
					p.tell(protocol.TypeCallPrepared, fields{"call": m.Call, "sdp": answer})
					st.page.wait(`call.pc.signalingState === 'stable'`)
				}
				st.page.eval(`window.before = call.pc`)
				p = tell(st, p, m.Call)
				f := p.find(protocol.TypeCallDescribe)
				d := new(protocol.CallDescribe)
				decode(t, f, d)
				if d.Kind != "offer" || !d.Renew || d.Restart || d.N != 1 || genOf(d.SDP) == genOf(m.SDP) {
					t.Fatalf("described as %s %d, renew %v, restart %v", d.Kind, d.N, d.Renew, d.Restart)
				}
				p.ok(f, fields{"call": m.Call, "state": "connecting"})
				if !value[bool](st.page, `call.pc !== before && before.signalingState === 'closed'`) {
					t.Error("it goes on with the old connection")
				}
				st.page.eval(`far.close();` + far)
				answer := value[string](st.page, `farAnswer(`+quote(d.SDP)+`)`)
				p.tell(protocol.TypeCallDescribe, fields{"call": m.Call, "n": 2, "kind": "answer", "sdp": answer})
				p.ok(p.find(protocol.TypeCallReport), nil)
				st.page.wait(`call.state === 'active' && ` + sends)
			})
		}
	}
}

// Among strangers only relays are used until the answer; then ICE is restarted.
func TestRelayFirst(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(far + `; window.call = client.call('` + other + `')`)
	p.ok(p.want(protocol.TypeICEGet), fields{"servers": aRelay, "policy": "relay_first"})
	m := new(protocol.CallInvite)
	f := p.want(protocol.TypeCallInvite)
	decode(t, f, m)
	p.ok(f, fields{"call": m.Call, "to": other, "state": "trying"})
	if got := value[string](st.page, policy); got != "relay" {
		t.Errorf("policy %s before the answer", got)
	}
	answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
	p.tell(protocol.TypeCallAnswered, fields{"call": m.Call, "sdp": answer})
	d := new(protocol.CallDescribe)
	decode(t, p.find(protocol.TypeCallDescribe), d)
	if got := value[string](st.page, policy); got != "all" || !d.Restart || d.Kind != "offer" {
		t.Errorf("policy %s after the answer, described as %s, restart %v", got, d.Kind, d.Restart)
	}
}

// The callee leaves the restart to the caller, for a second.
func TestRelayFirstForTheCallee(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.rung(p, fields{"servers": aRelay, "policy": "relay_first"})
	p.ok(p.find(protocol.TypeCallPrepare), fields{"call": "c1", "state": "ringing", "prepared": true})
	if got := value[string](st.page, policy); got != "relay" {
		t.Errorf("policy %s before the answer", got)
	}
	st.page.eval(`call.accept()`)
	p.ok(p.find(protocol.TypeCallAnswer), fields{"call": "c1", "state": "connecting"})
	st.page.wait(policy + ` === 'all'`)
	p.ok(p.find(protocol.TypeICEGet), fields{"servers": aRelay})
	d := new(protocol.CallDescribe)
	decode(t, p.find(protocol.TypeCallDescribe), d)
	if !d.Restart || d.Kind != "offer" {
		t.Errorf("described as %s, restart %v", d.Kind, d.Restart)
	}
}

// Without a relay there is nothing to set up before the answer: what the other side
// calls a relay may be a host of its own, which would see where this side is.
func TestRelayFirstWithoutARelay(t *testing.T) {
	t.Run("callee", func(t *testing.T) {
		st := newStage(t)
		p := st.connect(nil)
		st.rung(p, fields{"servers": []any{}, "policy": "relay_first"})
		p.quiet(st, protocol.TypeCallPrepare)
		if !value[bool](st.page, `call.pc === null`) {
			t.Error("it has a connection before it answers")
		}
	})
	t.Run("caller", func(t *testing.T) {
		st := newStage(t)
		p := st.connect(nil)
		st.page.eval(far + `; window.call = client.call('` + other + `')`)
		p.ok(p.want(protocol.TypeICEGet), fields{"servers": []any{}, "policy": "relay_first"})
		m := new(protocol.CallInvite)
		f := p.want(protocol.TypeCallInvite)
		decode(t, f, m)
		p.ok(f, fields{"call": m.Call, "to": other, "state": "trying"})
		answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
		p.tell(protocol.TypeCallPrepared, fields{"call": m.Call, "sdp": answer})
		p.quiet(st, protocol.TypeCallDescribe)
		if !value[bool](st.page, `call.pc.remoteDescription === null`) {
			t.Error("it goes to the other side before the answer")
		}
		p.tell(protocol.TypeCallAnswered, fields{"call": m.Call, "sdp": answer})
		p.ok(p.findBut(protocol.TypeCallReport, protocol.TypeCallDescribe), nil)
		st.page.wait(`call.state === 'active'`)
	})
}
