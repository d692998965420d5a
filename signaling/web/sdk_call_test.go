package web_test

import (
	"regexp"
	"strings"
	"testing"

	"switchboard/signaling/protocol"
)

// far prepares, in the page, the other side of a call: a peer connection of
// its own that the test carries descriptions and candidates to.
const far = `
	window.far = new RTCPeerConnection()
	window.farOffer = async (video) => {
		const stream = await navigator.mediaDevices.getUserMedia({audio: true, video: Boolean(video)})
		for (const t of stream.getTracks()) far.addTrack(t, stream)
		await far.setLocalDescription()
		await gathered()
		return far.localDescription.sdp
	}
	window.farAnswer = async (sdp) => {
		await far.setRemoteDescription({type: 'offer', sdp})
		await far.setLocalDescription()
		await gathered()
		return far.localDescription.sdp
	}
	window.gathered = () => far.iceGatheringState === 'complete' || new Promise((done) => { far.onicegatheringstatechange = () => far.iceGatheringState === 'complete' && done() })`

var ufrag = regexp.MustCompile(`(?m)^a=ice-ufrag:(\S+)`)

func genOf(sdp string) string {
	if m := ufrag.FindStringSubmatch(sdp); m != nil {
		return strings.TrimSpace(m[1])
	}
	return ""
}

var noICE = fields{"servers": []any{}}

func incoming(call, sdp string, more fields) fields {
	d := fields{"call": call, "from": other, "media": []string{"audio"}, "sdp": sdp, "age_ms": 5, "ring_ms": 45_000, "ice": noICE}
	for k, v := range more {
		d[k] = v
	}
	return d
}

// invited calls other and answers what the SDK asks up to its invite.
func (st *stage) invited(p *peer, options string) *protocol.CallInvite {
	st.t.Helper()
	st.page.eval(far + `; window.call = client.call('` + other + `', ` + options + `)`)
	return st.invite(p)
}

func (st *stage) invite(p *peer) *protocol.CallInvite {
	st.t.Helper()
	f := p.want(protocol.TypeICEGet)
	p.ok(f, noICE)
	f = p.want(protocol.TypeCallInvite)
	m := new(protocol.CallInvite)
	decode(st.t, f, m)
	p.ok(f, fields{"call": m.Call, "to": other, "state": "trying"})
	return m
}

// connected carries a call of the SDK's to where media flows.
func (st *stage) connected(p *peer) *protocol.CallInvite {
	st.t.Helper()
	m := st.invited(p, `{}`)
	st.taken(p, m)
	return m
}

// talking is connected, with sound from the other side, too.
func (st *stage) talking(p *peer) *protocol.CallInvite {
	st.t.Helper()
	m := st.invited(p, `{}`)
	st.page.eval(`const s = await navigator.mediaDevices.getUserMedia({audio: true}); far.addTrack(s.getAudioTracks()[0], s)`)
	st.taken(p, m)
	return m
}

// taken has the other side answer.
func (st *stage) taken(p *peer, m *protocol.CallInvite) {
	st.t.Helper()
	answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
	p.tell(protocol.TypeCallRinging, fields{"call": m.Call})
	p.tell(protocol.TypeCallAnswered, fields{"call": m.Call, "sdp": answer})
	f := p.find(protocol.TypeCallReport)
	p.ok(f, nil)
	st.page.wait(`call.state === 'active'`)
}

func TestInvite(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.invited(p, `{video: true}`)
	same(t, "media", []protocol.Media{protocol.Audio, protocol.Video}, m.Media)
	if m.To != other || genOf(m.SDP) == "" {
		t.Errorf("invite to %s with the generation %q", m.To, genOf(m.SDP))
	}
	st.page.wait(`call.state === 'trying' && call.peer === '` + other + `'`)

	// Candidates follow, in batches that are numbered, of the offer's generation.
	for n, end := 1, false; !end; n++ {
		f := p.find(protocol.TypeCallCandidates)
		c := new(protocol.CallCandidates)
		decode(t, f, c)
		if c.N != n || c.Gen != genOf(m.SDP) || c.Call != m.Call {
			t.Fatalf("batch %d of %q of call %q", c.N, c.Gen, c.Call)
		}
		end = c.End
		p.ok(f, nil)
	}
	p.tell(protocol.TypeCallRinging, fields{"call": m.Call})
	st.page.wait(`call.state === 'ringing'`)

	p.tell(protocol.TypeCallEnded, fields{"call": m.Call, "reason": "busy"})
	st.page.wait(`call.state === 'ended' && call.reason === 'busy' && !call.mine`)
	st.page.wait(`client.calls.size === 0 && call.localStream.getTracks().every((t) => t.readyState === 'ended') && call.pc === null`)
}

func TestCandidatesWaitForTheInvite(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`window.call = client.call('` + other + `')`)
	p.ok(p.want(protocol.TypeICEGet), noICE)
	f := p.nextIs(protocol.TypeCallInvite)
	st.page.wait(`call.pc.iceGatheringState === 'complete'`)
	p.quiet(st, protocol.TypeCallCandidates)
	m := new(protocol.CallInvite)
	decode(t, f, m)
	p.ok(f, fields{"call": m.Call, "to": other, "state": "trying"})
	p.find(protocol.TypeCallCandidates)
}

func TestRefusedInvite(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`window.call = client.call('12')`)
	p.ok(p.want(protocol.TypeICEGet), noICE)
	p.refuse(p.want(protocol.TypeCallInvite), protocol.NewError(protocol.CodeNumber, "no").With("reason", "too_short"))
	st.page.wait(`call.state === 'ended' && call.error.code === 'bad_number' && call.error.info.reason === 'too_short'`)
}

func TestNoMicrophone(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(`
		navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotAllowedError') }
		window.call = client.call('` + other + `')`)
	st.page.wait(`call.state === 'ended' && call.error.code === 'media'`)
	p.quiet(st, protocol.TypeCallInvite, protocol.TypeCallHangup)

	// Who is called may try again.
	p.tell(protocol.TypeCallIncoming, incoming("c1", "v=0", nil))
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.call = told.find((e) => e.type === 'call').detail; await call.accept().catch((e) => { window.failed = e })`)
	if got := value[string](st.page, `failed.code + ' ' + call.state`); got != "media ringing" {
		t.Errorf("got %q", got)
	}
}

func TestInviteIsSentAgainUnderItsIDs(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(far + `; window.call = client.call('` + other + `')`)
	p.ok(p.want(protocol.TypeICEGet), noICE)
	first := p.want(protocol.TypeCallInvite)
	p.drop()
	p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{}})
	again := p2.want(protocol.TypeCallInvite)
	if again.ID != first.ID || string(again.D) != string(first.D) {
		t.Error("it is another invite")
	}
	if got := value[string](st.page, `call.state`); got != "starting" {
		t.Errorf("the call is %s", got)
	}
}

func TestAnswer(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallIncoming, incoming("c1", sdp, nil))
	p.nextIs(protocol.TypeCallRinging)
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.call = told.find((e) => e.type === 'call').detail; call.accept()`)
	f := p.find(protocol.TypeCallAnswer)
	answer := new(protocol.CallAnswer)
	decode(t, f, answer)
	p.quiet(st, protocol.TypeCallCandidates)
	p.ok(f, fields{"call": "c1", "state": "connecting"})
	st.page.eval(`await far.setRemoteDescription({type: 'answer', sdp: ` + quote(answer.SDP) + `})`)
	report := st.carry(p)
	if report.Media != protocol.MediaConnected || report.Path == nil || report.Path.Protocol != "udp" {
		t.Errorf("report %+v, path %+v", report, report.Path)
	}
	st.page.wait(`call.state === 'active' && call.stats?.quality > 0 && call.path.protocol === 'udp'`)
}

// carry gives the SDK's candidates to the other side until the SDK reports.
func (st *stage) carry(p *peer) *protocol.CallReport {
	st.t.Helper()
	for {
		switch f := p.next(); f.T {
		case protocol.TypeCallCandidates:
			st.page.eval(`for (const c of (` + string(f.D) + `).candidates || []) await far.addIceCandidate({candidate: c.candidate, sdpMid: c.mid, sdpMLineIndex: c.mline})`)
		case protocol.TypeCallReport:
			m := new(protocol.CallReport)
			decode(st.t, f, m)
			return m
		}
	}
}

func TestAnsweredElsewhere(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallIncoming, incoming("c1", sdp, nil))
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.call = told.find((e) => e.type === 'call').detail; call.accept()`)
	p.refuse(p.find(protocol.TypeCallAnswer), protocol.NewError(protocol.CodeCallEnded, "over").With("reason", "answered_elsewhere"))
	st.page.wait(`call.state === 'ended' && call.reason === 'answered_elsewhere' && call.error === null`)
}

func TestAnswerOutlivesItsConnection(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(far)
	sdp := value[string](st.page, `farOffer()`)
	p.tell(protocol.TypeCallIncoming, incoming("c1", sdp, nil))
	st.page.wait(`happened('call') === 1`)
	st.page.eval(`window.call = told.find((e) => e.type === 'call').detail; call.accept()`)
	first := p.find(protocol.TypeCallAnswer)
	p.drop()
	p2, _ := st.accept(fields{"resumed": "full"})
	again := p2.find(protocol.TypeCallAnswer)
	if again.ID != first.ID || string(again.D) != string(first.D) {
		t.Error("it is another answer")
	}
	p2.ok(again, fields{"call": "c1", "state": "connecting"})
	st.page.wait(`call.state === 'connecting' && call.answeredAt > 0`)
}

func TestDecline(t *testing.T) {
	for method, want := range map[string]protocol.Type{"reject": protocol.TypeCallReject, "busy": protocol.TypeCallBusy, "hangup": protocol.TypeCallHangup} {
		t.Run(method, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			p.tell(protocol.TypeCallIncoming, incoming("c1", "v=0", nil))
			st.page.wait(`happened('call') === 1`)
			st.page.eval(`window.call = told.find((e) => e.type === 'call').detail; call.` + method + `()`)
			f := p.find(want)
			p.drop() // the answer is lost
			p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{snapshot("c1", "ringing", "callee", nil)}})
			again := p2.next(protocol.TypeAck)
			if again.T != want || again.ID != f.ID {
				t.Errorf("got %s %s, want %s %s", again.T, again.ID, want, f.ID)
			}
			p2.ok(again, fields{"call": "c1", "state": "ended"})
			p2.quiet(st, protocol.TypeCallRinging)
			if n := value[int](st.page, `happened('call')`); n != 1 {
				t.Error("what was declined rings again")
			}
		})
	}
}

func snapshot(call, state, role string, more fields) fields {
	d := fields{"call": call, "state": state, "peer": other, "role": role, "media": []string{"audio"}, "age_ms": 5, "ring_ms": 45_000, "ice": noICE}
	for k, v := range more {
		d[k] = v
	}
	return d
}

func TestSecondCallIsBusy(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.connected(p)
	p.tell(protocol.TypeCallIncoming, incoming("c2", "v=0", fields{"from": "+13105550144"}))
	busy := new(protocol.CallBusy)
	decode(t, p.find(protocol.TypeCallBusy), busy)
	if busy.Call != "c2" {
		t.Errorf("busy for %q", busy.Call)
	}
	if n := value[int](st.page, `happened('call')`); n != 0 {
		t.Error("it rings")
	}
}

// Hanging up without a connection takes effect at once here, and on the server
// as soon as it can be told.
func TestHangupOutlivesTheConnection(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	p.drop()
	st.page.wait(`client.state !== 'online'`)
	st.page.eval(`call.hangup()`)
	if got := value[string](st.page, `call.state + ' ' + call.reason`); got != "ended hangup" {
		t.Errorf("the call is %s", got)
	}
	p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{snapshot(m.Call, "active", "caller", nil)}})
	f := p2.want(protocol.TypeCallHangup)
	hangup := new(protocol.CallHangup)
	decode(t, f, hangup)
	if hangup.Call != m.Call {
		t.Errorf("hangs %q up", hangup.Call)
	}
	p2.drop() // before it has answered
	p3, _ := st.accept(fields{"resumed": "full"})
	again := p3.want(protocol.TypeCallHangup)
	if again.ID != f.ID {
		t.Errorf("hung up as %q, then as %q", f.ID, again.ID)
	}
	p3.ok(again, fields{"call": m.Call, "state": "ended"})
	p3.quiet(st, protocol.TypeCallHangup, protocol.TypeCallSync)
}

// A lost socket changes nothing about a call whose media flows.
func TestMediaOutlivesTheConnection(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	st.page.eval(`window.seen = []; call.addEventListener('change', () => seen.push(call.state))`)
	p.drop()
	p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{snapshot(m.Call, "active", "caller", nil)}})
	p2.quiet(st, protocol.TypeCallHangup, protocol.TypeCallDescribe)
	if got := value[[]string](st.page, `seen.filter((s) => s !== 'active')`); len(got) > 0 {
		t.Errorf("the call went through %v", got)
	}
}

func TestCallThatTheServerForgot(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	p.drop()
	p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{}})
	f := p2.find(protocol.TypeCallSync)
	p2.ok(f, snapshot(m.Call, "ended", "caller", fields{"reason": "connection_lost"}))
	st.page.wait(`call.state === 'ended' && call.reason === 'connection_lost'`)
}

// What was missed between two sessions is in the snapshot.
func TestAnswerInASnapshot(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.invited(p, `{}`)
	answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
	p.drop()
	p2, _ := st.accept(fields{"resumed": "state", "session": "s2", "calls": []any{snapshot(m.Call, "connecting", "caller", fields{"kind": "answer", "sdp": answer})}})
	decoded := new(protocol.CallReport)
	decode(t, p2.find(protocol.TypeCallReport), decoded)
	if decoded.Media != protocol.MediaConnected {
		t.Errorf("media %s", decoded.Media)
	}
}

func TestRingingInASnapshot(t *testing.T) {
	st := newStage(t)
	st.connect(fields{"calls": []any{snapshot("c1", "ringing", "callee", fields{"sdp": "v=0", "kind": "offer"})}})
	st.page.wait(`happened('call') === 1 && told[0].detail.state === 'ringing' && told[0].detail.peer === '` + other + `'`)
}

// A page that was loaded anew has lost the media of its calls.
func TestCallOfAnEarlierPage(t *testing.T) {
	st := newStage(t)
	p := st.connect(fields{"calls": []any{snapshot("c1", "active", "callee", nil)}})
	hangup := new(protocol.CallHangup)
	decode(t, p.find(protocol.TypeCallHangup), hangup)
	if hangup.Call != "c1" {
		t.Errorf("hangs %q up", hangup.Call)
	}
}

// Both call each other; the other side's call stays. The server may tell of it
// before or after it answers the invite.
func TestGlare(t *testing.T) {
	for _, first := range []string{"incoming", "ok", "ended"} {
		t.Run(first+" first", func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			st.page.eval(far + `; window.call = client.call('` + other + `')`)
			sdp := value[string](st.page, `farOffer()`)
			p.ok(p.want(protocol.TypeICEGet), noICE)
			f := p.want(protocol.TypeCallInvite)
			m := new(protocol.CallInvite)
			decode(t, f, m)
			ok := func() { p.ok(f, fields{"call": m.Call, "to": other, "state": "ringing", "merged": "c1"}) }
			tell := func() { p.tell(protocol.TypeCallIncoming, incoming("c1", sdp, fields{"merged": true})) }
			switch first {
			case "incoming":
				tell()
				ok()
			case "ok":
				ok()
				tell()
			case "ended":
				p.tell(protocol.TypeCallEnded, fields{"call": m.Call, "reason": "merged"})
				ok()
				tell()
			}
			f = p.find(protocol.TypeCallAnswer)
			answer := new(protocol.CallAnswer)
			decode(t, f, answer)
			p.ok(f, fields{"call": "c1", "state": "connecting"})
			st.page.eval(`await far.setRemoteDescription({type: 'answer', sdp: ` + quote(answer.SDP) + `})`)
			st.carry(p)
			if n := value[int](st.page, `happened('call')`); n != 0 || answer.Call != "c1" {
				t.Errorf("it rang %d times; answered %q", n, answer.Call)
			}
			st.page.wait(`call.id === 'c1' && call.state === 'active' && client.calls.get('c1') === call && client.calls.size === 1`)
		})
	}
}

// The other side's call is there before our invite is answered: it is kept
// back until it is clear whether the two are one.
func TestGlareThatWasNone(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.invited(p, `{}`)
	p.tell(protocol.TypeCallIncoming, incoming("c1", "v=0", nil))
	p.quiet(st, protocol.TypeCallBusy)
	if n := value[int](st.page, `happened('call')`); n != 0 {
		t.Error("it rings while its own call may be the same")
	}
	p.tell(protocol.TypeCallEnded, fields{"call": m.Call, "reason": "unreachable"})
	st.page.wait(`happened('call') === 1 && client.calls.get('c1')?.state === 'ringing'`)
}

// A relay is drained or has died: both sides use the servers that they are given, the
// caller at once.
func TestOtherServers(t *testing.T) {
	const servers = `call.pc.getConfiguration().iceServers.flatMap((s) => s.urls).join()`
	other := fields{"servers": []any{fields{"urls": []string{"turn:127.0.0.1:9"}, "username": "u", "credential": "c"}}}
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	before := value[string](st.page, `call.pc.localDescription.sdp`)
	p.tell(protocol.TypeCallState, fields{"call": m.Call, "state": "active", "ice": other})
	st.page.wait(servers + ` === 'turn:127.0.0.1:9'`)
	if value[string](st.page, `call.pc.localDescription.sdp`) != before {
		t.Error("a side restarts that was not asked to")
	}
	third := fields{"servers": []any{fields{"urls": []string{"turn:127.0.0.1:10"}, "username": "u", "credential": "c"}}}
	p.tell(protocol.TypeCallState, fields{"call": m.Call, "state": "active", "restart": true, "ice": third})
	offer := new(protocol.CallDescribe)
	decode(t, p.find(protocol.TypeCallDescribe), offer) // and asks for nothing first
	if got := value[string](st.page, servers); got != "turn:127.0.0.1:10" || !offer.Restart || genOf(offer.SDP) == genOf(m.SDP) {
		t.Errorf("restart %v, generation %q after %q, with %s", offer.Restart, genOf(offer.SDP), genOf(m.SDP), got)
	}
}

func TestRestart(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	p.tell(protocol.TypeCallState, fields{"call": m.Call, "state": "connecting", "restart": true})
	p.s-- // the same frame once more
	p.tell(protocol.TypeCallState, fields{"call": m.Call, "state": "connecting", "restart": true})
	p.ok(p.find(protocol.TypeICEGet), noICE)
	f := p.findBut(protocol.TypeCallDescribe, protocol.TypeICEGet)
	offer := new(protocol.CallDescribe)
	decode(t, f, offer)
	if offer.N != 1 || offer.Kind != "offer" || !offer.Restart || genOf(offer.SDP) == genOf(m.SDP) {
		t.Errorf("description %d, %s, restart %v, generation %q after %q", offer.N, offer.Kind, offer.Restart, genOf(offer.SDP), genOf(m.SDP))
	}
	p.ok(f, fields{"call": m.Call, "state": "active"})
	answer := value[string](st.page, `farAnswer(`+quote(offer.SDP)+`)`)
	for range 2 { // the second is a repeat
		p.tell(protocol.TypeCallDescribe, fields{"call": m.Call, "n": 1, "kind": "answer", "sdp": answer})
	}
	st.page.wait(`call.pc.signalingState === 'stable' && call.pc.currentRemoteDescription.sdp.includes('` + genOf(answer) + `')`)
	// An offer of theirs that comes twice is answered once.
	theirs := value[string](st.page, `(async () => { far.addTransceiver('video'); await far.setLocalDescription(); return far.localDescription.sdp })()`)
	st.page.eval(`
		const set = call.pc.setRemoteDescription.bind(call.pc)
		window.taken = 0
		call.pc.setRemoteDescription = (d) => { taken++; return set(d) }`)
	for _, n := range []int{2, 2, 3} {
		p.tell(protocol.TypeCallDescribe, fields{"call": m.Call, "n": n, "kind": "offer", "sdp": theirs})
	}
	for _, n := range []int{2, 3} {
		f = p.find(protocol.TypeCallDescribe)
		decode(t, f, offer)
		if offer.N != n || offer.Kind != "answer" {
			t.Errorf("description %d, %s", offer.N, offer.Kind)
		}
		p.ok(f, fields{"call": m.Call, "state": "active"})
	}
	if n := value[int](st.page, `taken`); n != 2 {
		t.Errorf("took %d offers of two", n)
	}
	if n := value[int](st.page, `happened('trouble')`); n != 0 {
		t.Errorf("trouble: %s", value[string](st.page, `String(told.find((e) => e.type === 'trouble').detail)`))
	}
}

func TestRelayOnly(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	p.tell(protocol.TypeCallState, fields{"call": m.Call, "state": "connecting", "relay_only": true})
	st.page.wait(`call.pc.getConfiguration().iceTransportPolicy === 'relay'`)
	p.quiet(st, protocol.TypeCallDescribe)
}

// The callee is polite: its own offer gives way. The caller's does not.
func TestNegotiationCollides(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	theirs := value[string](st.page, `(async () => {
		far.addTransceiver('video')
		await far.setLocalDescription()
		return far.localDescription.sdp
	})()`)
	st.page.eval(`call.setCamera(true)`)
	f := p.find(protocol.TypeCallDescribe)
	mine := new(protocol.CallDescribe)
	decode(t, f, mine)
	p.ok(f, fields{"call": m.Call, "state": "active"})
	p.tell(protocol.TypeCallDescribe, fields{"call": m.Call, "n": 1, "kind": "offer", "sdp": theirs})
	p.quiet(st, protocol.TypeCallDescribe) // impolite: it is passed over

	answer := value[string](st.page, `farAnswer(`+quote(mine.SDP)+`)`)
	p.tell(protocol.TypeCallDescribe, fields{"call": m.Call, "n": 2, "kind": "answer", "sdp": answer})
	st.page.wait(`call.pc.signalingState === 'stable' && call.pc.currentRemoteDescription.sdp.includes('m=video')`)

	st.page.eval(`call.setCamera(false)`)
	f = p.find(protocol.TypeCallDescribe)
	decode(t, f, mine)
	if mine.N != 2 || mine.Restart {
		t.Errorf("description %d, restart %v", mine.N, mine.Restart)
	}
}

func TestPageIsClosedInACall(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	m := st.connected(p)
	st.page.do(navigateAway)
	hangup := new(protocol.CallHangup)
	decode(t, p.find(protocol.TypeCallHangup), hangup)
	if hangup.Call != m.Call {
		t.Errorf("hangs %q up", hangup.Call)
	}
}
