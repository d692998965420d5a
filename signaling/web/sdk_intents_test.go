package web_test

import (
	"slices"
	"testing"

	"switchboard/signaling/protocol"
)

// What people have asked for is asked of the server, in the same words and under
// the same id, until it answers: when there was no connection, when it broke before
// the answer came, on the same node and on another.
func TestIntentsSurvive(t *testing.T) {
	rings := func(st *stage, p *peer) []fields {
		st.page.eval(far)
		offer := value[string](st.page, `farOffer()`)
		p.tell(protocol.TypeCallIncoming, incoming("c1", offer, nil))
		st.page.wait(`happened('call') === 1`)
		st.page.eval(`window.call = client.calls.get('c1')`)
		if f := p.find(protocol.TypeCallRinging); f.ID != "" {
			p.ok(f, nil)
		}
		return []fields{snapshot("c1", "ringing", "callee", fields{"sdp": offer})}
	}
	for _, in := range []struct {
		is     protocol.Type
		before func(st *stage, p *peer) []fields // returns the calls that there are then
		intend string
		ok     fields
	}{
		{is: protocol.TypeMessageSend, intend: `client.sendText('` + other + `', 'hello')`, ok: fields{"id": "x", "to": other, "time": 1}},
		{is: protocol.TypeMessageRead, intend: `client.markRead('` + other + `')`, before: func(st *stage, p *peer) []fields {
			p.send(protocol.TypeMailboxItem, item(1, protocol.KindMessage, "m1", fields{"body": "x"}))
			st.page.wait(`happened('text') === 1`)
			return nil
		}},
		{is: protocol.TypeCallInvite, intend: `client.call('` + other + `')`, ok: fields{"call": "x", "to": other, "state": "trying"}},
		{is: protocol.TypeCallAnswer, intend: `call.accept()`, before: rings},
		{is: protocol.TypeCallReject, intend: `call.reject()`, before: rings},
		{is: protocol.TypeCallBusy, intend: `call.busy()`, before: rings},
		{is: protocol.TypeCallHangup, intend: `call.hangup()`, before: func(st *stage, p *peer) []fields {
			return []fields{snapshot(st.invited(p, `{}`).Call, "trying", "caller", nil)}
		}},
	} {
		for _, how := range []string{"down", "cut"} {
			for _, where := range []string{"same node", "other node"} {
				t.Run(string(in.is)+"/"+how+"/"+where, func(t *testing.T) {
					st := newStageAt(t, "/blank")
					a, stop := st.node()
					b := st.address()
					st.page.eval(`window.client = new sb.Client({store, base: ['http://` + a + `', 'http://` + b + `']}); hear()
						Math.random = () => 0.99 // nobody is back before the test has done what it does meanwhile
						client.connect()`)
					p, _ := st.acceptAt(a, nil)
					var calls []fields
					if in.before != nil {
						calls = in.before(st, p)
					}
					to, welcome := a, fields{"resumed": "full"}
					lose := func() {
						if where == "other node" {
							stop()
							to, welcome = b, fields{"resumed": "state", "session": "s2", "calls": calls}
						}
						p.drop()
					}
					var first protocol.Frame
					if how == "down" {
						st.page.eval(`window.down = new Promise((done) => client.addEventListener('state', () => client.state === 'online' || done()))`)
						lose()
						st.page.eval(`await down; void ` + in.intend)
					} else {
						st.page.eval(`void ` + in.intend)
						first = p.upTo(in.is)
						lose()
					}
					p, _ = st.acceptAt(to, welcome)
					again := p.upTo(in.is)
					if how == "cut" && (again.ID != first.ID || string(again.D) != string(first.D)) {
						t.Errorf("request %s: %s became %s: %s", first.ID, first.D, again.ID, again.D)
					}
					p.ok(again, in.ok)
					p.quiet(st, in.is)
				})
			}
		}
	}
}

// upTo returns the next frame of a type, and answers what has to be answered
// before it comes.
func (p *peer) upTo(t protocol.Type) protocol.Frame {
	p.t.Helper()
	for {
		switch f := p.next(); {
		case f.T == t:
			return f
		case f.T == protocol.TypeICEGet:
			p.ok(f, noICE)
		case f.ID != "" && !slices.Contains([]protocol.Type{protocol.TypeCallCandidates, protocol.TypeCallRinging, protocol.TypeCallPrepare}, f.T):
			p.t.Fatalf("unexpected %s", f.T)
		case f.ID != "":
			p.ok(f, nil)
		}
	}
}
