package web_test

import (
	"testing"

	"switchboard/signaling/protocol"
)

// relayed has the browser tell of a pair of candidates by a relay, of packets and of
// round trips, as figures say; and lets time pass, in ms.
const relayed = `
	window.figures = {packets: 100, lost: 3, jitter: 0.0124, rtt: 0.0816, url: 'turn:relay.example:3479?transport=udp'}
	RTCPeerConnection.prototype.getStats = async function () {
		return new Map([
			['T', {type: 'transport', selectedCandidatePairId: 'P'}],
			['P', {type: 'candidate-pair', state: 'succeeded', nominated: true, localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: figures.rtt}],
			['L', {type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'udp', url: figures.url}],
			['R', {type: 'remote-candidate', candidateType: 'srflx', protocol: 'udp'}],
			['A', {id: 'A', type: 'inbound-rtp', kind: 'audio', packetsReceived: figures.packets, packetsLost: figures.lost, jitter: figures.jitter}]
		])
	}
	const now = performance.now.bind(performance)
	window.later = 0
	performance.now = () => now() + later`

// report is the next call.report.
func (p *peer) report() *protocol.CallReport {
	p.t.Helper()
	f := p.find(protocol.TypeCallReport)
	m := new(protocol.CallReport)
	decode(p.t, f, m)
	p.ok(f, nil)
	return m
}

// Operators are told which relay carries a call; every twenty seconds, and at its end,
// how it sounds. What they are told of packets is of the whole call, though browsers
// count anew when a stream comes back.
func TestReports(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(relayed)
	m := st.invited(p, `{}`)
	answer := value[string](st.page, `farAnswer(`+quote(m.SDP)+`)`)
	p.tell(protocol.TypeCallAnswered, fields{"call": m.Call, "sdp": answer})
	first := p.report()
	same(t, "the first report", &protocol.CallReport{
		Call: m.Call, Media: protocol.MediaConnected,
		Path: &protocol.Path{Local: "relay", Remote: "srflx", Protocol: "udp", Relay: "udp", Server: "relay.example:3479"},
	}, first)
	st.page.eval(`await new Promise((done) => { let n = 0; call.addEventListener('stats', () => ++n === 2 && done()) })`)
	p.quiet(st, protocol.TypeCallReport) // there is nothing new to tell

	st.page.eval(`figures.packets = 1000; figures.lost = 7; later += 20_000`)
	second := p.report()
	same(t, "twenty seconds later", &protocol.CallReport{
		Call: m.Call, Media: protocol.MediaConnected, Path: first.Path,
		Quality: &protocol.Quality{Received: 1000, Lost: 7, JitterMS: 12, RTTMS: 82},
	}, second)
	st.page.eval(`figures.packets = 10; figures.lost = 1; await new Promise((done) => call.addEventListener('stats', done, {once: true}))`)
	p.quiet(st, protocol.TypeCallReport) // it is too early

	st.page.eval(`call.hangup()`)
	same(t, "at the end", &protocol.Quality{Received: 1010, Lost: 8, JitterMS: 12, RTTMS: 82}, p.report().Quality)
	p.find(protocol.TypeCallHangup)
}

// The other side ends it: the figures come after that.
func TestReportAfterTheEnd(t *testing.T) {
	st := newStage(t)
	p := st.connect(nil)
	st.page.eval(relayed)
	m := st.connected(p)
	st.page.wait(`call.stats !== null`)
	p.tell(protocol.TypeCallEnded, fields{"call": m.Call, "reason": "hangup"})
	if q := p.report().Quality; q == nil || q.Received != 100 {
		t.Errorf("at the end: %+v", q)
	}
}

// A relay on its usual port, or reached by TLS, is named with its port all the same.
func TestServerOfAPath(t *testing.T) {
	st := newStage(t)
	st.page.eval(relayed)
	for url, want := range map[string]string{
		"turn:relay.example":                    "relay.example:3478",
		"turn:relay.example:80?transport=tcp":   "relay.example:80",
		"turns:relay.example?transport=tcp":     "relay.example:5349",
		"turn:[2001:db8::1]:3478?transport=udp": "[2001:db8::1]:3478",
		"turns:[2001:db8::1]:443?transport=tcp": "[2001:db8::1]:443",
	} {
		st.page.eval(`figures.url = ` + quote(url))
		if got := value[string](st.page, `sb.pathOf(await RTCPeerConnection.prototype.getStats()).server`); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}
