package protocol

import (
	"math"
	"strings"

	"switchboard/directory/e164"
)

// Limits of call messages. Each is what a hostile peer could make the other
// side or the call's record hold.
const (
	MaxSDP        = 32 << 10 // bytes of a description
	MaxCandidate  = 512      // bytes of one candidate line
	MaxBatch      = 32       // candidates in one message
	MaxCandidates = 64       // candidates of one side in one ICE generation
)

// Media is a kind of medium, as in SDP's m= line.
type Media string

const (
	Audio Media = "audio"
	Video Media = "video"
)

// CallInvite calls a number.
type CallInvite struct {
	// Call is an id that the client chooses, at random, so that a retry of the
	// same invite is the same call. At most 64 bytes of A–Z a–z 0–9 - _.
	Call string `json:"call"`
	// To is a number, in any way of writing it. Without a + it is read in the
	// country of the caller's own number.
	To    string  `json:"to"`
	Media []Media `json:"media"`
	// SDP is the offer.
	SDP string `json:"sdp"`
}

// CallInvited answers an invite.
type CallInvited struct {
	Call  string      `json:"call"`
	To    e164.Number `json:"to"`
	State State       `json:"state"`
	// Merged is the call that this invite was merged into because the callee
	// was calling at the same moment (glare). The client drops its own call
	// and answers that one, which it receives as call.incoming, without asking
	// anyone.
	Merged string `json:"merged,omitempty"`
}

// CallReply answers the other requests about a call.
type CallReply struct {
	Call  string `json:"call"`
	State State  `json:"state"`
}

// CallIncoming rings a device.
type CallIncoming struct {
	Call  string      `json:"call"`
	From  e164.Number `json:"from"`
	Media []Media     `json:"media"`
	SDP   string      `json:"sdp"`
	// AgeMS is how long ago the server took the invite; RingMS is how long it
	// rings in all. Clocks of peers are never compared.
	AgeMS  int64 `json:"age_ms"`
	RingMS int64 `json:"ring_ms"`
	// ICE holds servers with credentials minted for this call.
	ICE ICE `json:"ice"`
	// Merged says that this is the surviving call of a glare: the device was
	// calling From itself and answers at once.
	Merged bool `json:"merged,omitempty"`
}

// CallRinging tells that a device rings: from the device to the server, and
// from the server to the caller when the first one does.
type CallRinging struct {
	Call string `json:"call"`
	// Waiting says that the device is in another call meanwhile (call waiting).
	Waiting bool `json:"waiting,omitempty"`
}

// CallPrepare is a pre-answer, of a device that rings: ICE and DTLS are set up
// while it does, so that media flows at once on answer. No media is sent before.
// One device of a call may, the first that asks.
type CallPrepare struct {
	Call string `json:"call"`
	// SDP is what the device will answer with.
	SDP string `json:"sdp"`
}

// CallPreparing answers a CallPrepare.
type CallPreparing struct {
	Call  string `json:"call"`
	State State  `json:"state"`
	// Prepared says that this is the device that was chosen. For others nothing
	// has changed.
	Prepared bool `json:"prepared,omitempty"`
}

// CallPrepared brings a pre-answer to the caller, who sets it as the answer to
// its offer and sends no media yet. If a call is answered with another
// description than this one, the caller makes a new peer connection and offers it
// as [CallDescribe.Renew] says.
type CallPrepared struct {
	Call string `json:"call"`
	SDP  string `json:"sdp"`
}

// CallAnswer answers a call. The first answer wins.
type CallAnswer struct {
	Call string `json:"call"`
	SDP  string `json:"sdp"`
}

// CallAnswered brings the answer to the caller.
type CallAnswered struct {
	Call string `json:"call"`
	SDP  string `json:"sdp"`
}

// CallReject declines a call on all devices of the account.
type CallReject struct {
	Call string `json:"call"`
}

// CallBusy tells that this device alone cannot take the call.
type CallBusy struct {
	Call string `json:"call"`
}

// CallCancel withdraws an invite. After an answer it is refused with
// [CodeCallState]; hang up then.
type CallCancel struct {
	Call string `json:"call"`
}

// CallHangup ends a call for both sides in whatever state it is: the caller's
// before an answer cancels, the callee's declines. Repeats are answered ok.
type CallHangup struct {
	Call string `json:"call"`
	// Why is what the client knows: hangup, ice_failed, media_failed.
	// Absent means hangup.
	Why Reason `json:"why,omitempty"`
}

// CallCandidates carries ICE candidates, trickled (RFC 8838).
type CallCandidates struct {
	Call string `json:"call"`
	// Gen is the ICE generation: the sender's ice-ufrag.
	Gen string `json:"gen"`
	// N numbers the messages of one generation from 1: on the way to the server
	// the sender's own, on the way from it those that it passes on. A repeat of
	// the same N is dropped.
	N          int         `json:"n"`
	Candidates []Candidate `json:"candidates,omitempty"`
	// End says that no more follow in this generation.
	End bool `json:"end,omitempty"`
}

// Generation is the ICE generation of a description, its first ice-ufrag (RFC 8839
// §5.4), or "".
func Generation(sdp string) string {
	_, rest, _ := strings.Cut(sdp, "a=ice-ufrag:")
	gen, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(gen)
}

// Candidate is an RTCIceCandidateInit of WebRTC.
type Candidate struct {
	Candidate string `json:"candidate"`
	Mid       string `json:"mid,omitempty"`
	MLine     *int   `json:"mline,omitempty"`
}

// CallDescribe carries a description inside an answered call: an offer that
// renegotiates or restarts ICE, or the answer to one. The callee is the polite
// peer of perfect negotiation.
type CallDescribe struct {
	Call string `json:"call"`
	// N numbers the sender's descriptions in the call from 1. A repeat of the
	// same N is dropped.
	N int `json:"n"`
	// Kind is offer, answer or rollback as in RTCSdpType.
	Kind string `json:"kind"`
	SDP  string `json:"sdp,omitempty"`
	// Restart says that the offer restarts ICE.
	Restart bool `json:"restart,omitempty"`
	// Renew says that the offer is of a new peer connection, to which the other
	// side answers with a new one: with it, ICE and DTLS begin anew.
	Renew bool `json:"renew,omitempty"`
}

// CallReport tells how the media is on the sender's side.
type CallReport struct {
	Call string `json:"call"`
	// Media is the state of the peer connection.
	Media MediaState `json:"media"`
	// Path is what carries the media, when it is connected.
	Path *Path `json:"path,omitempty"`
	// Quality is what has come of the other side's media so far.
	Quality *Quality `json:"quality,omitempty"`
	// FirstMediaMS is from the answer, as this side saw it, to the first media of
	// the other side.
	FirstMediaMS *int64 `json:"first_media_ms,omitempty"`
}

// Quality is how media came to one side: packets of all its streams since the
// beginning of the call (RFC 3550 §6.4.1), the newest jitter and round trip.
type Quality struct {
	Received int64 `json:"received"`
	Lost     int64 `json:"lost"`
	JitterMS int64 `json:"jitter_ms"`
	RTTMS    int64 `json:"rtt_ms"`
}

// Limits of what a report may say, far beyond what can be: one lie must not spoil
// the sums that operators look at.
const (
	MaxPackets  = 1 << 40
	MaxDelayMS  = 600_000
	maxServerAt = 255 + 1 + 5 // bytes of host:port
)

// MediaState is the state of the peer connection on one side.
type MediaState string

const (
	MediaConnected    MediaState = "connected"
	MediaDisconnected MediaState = "disconnected"
	MediaFailed       MediaState = "failed"
)

// Path is the selected pair of ICE candidates (RFC 8445 §5.1.1).
type Path struct {
	Local    string `json:"local"`           // host, srflx, prflx or relay
	Remote   string `json:"remote"`          // the same of the other side
	Protocol string `json:"protocol"`        // udp or tcp, between the two
	Relay    string `json:"relay,omitempty"` // udp, tcp or tls: from this side to its relay
	// Server is the host:port, as in its URL, of the TURN server of this side's
	// relay candidate, if Local is one.
	Server string `json:"server,omitempty"`
}

// State is the state of a call.
type State string

const (
	Trying       State = "trying"       // invited; no device has said that it rings
	Ringing      State = "ringing"      // at least one device rings
	Connecting   State = "connecting"   // answered; media not yet up on both sides
	Active       State = "active"       // media up on both sides
	Reconnecting State = "reconnecting" // media lost on a side that had it
	Ended        State = "ended"        // over, for the reason given
)

// Reason says why a call ended, or ended for one device.
type Reason string

const (
	ReasonHangup            Reason = "hangup"             // a side hung up
	ReasonCanceled          Reason = "canceled"           // the caller gave up before an answer
	ReasonDeclined          Reason = "declined"           // the callee declined
	ReasonBusy              Reason = "busy"               // every device of the callee was busy
	ReasonNoAnswer          Reason = "no_answer"          // nobody answered in time
	ReasonUnreachable       Reason = "unreachable"        // no device of the number could be rung
	ReasonAnsweredElsewhere Reason = "answered_elsewhere" // another device of the account answered
	ReasonDeclinedElsewhere Reason = "declined_elsewhere" // another device of the account declined
	ReasonMerged            Reason = "merged"             // glare: the other call goes on
	ReasonICEFailed         Reason = "ice_failed"         // answered, but media never connected
	ReasonConnectionLost    Reason = "connection_lost"    // media was connected and did not come back
	ReasonMediaFailed       Reason = "media_failed"       // a side could not open its devices
	ReasonReplaced          Reason = "replaced"           // the same device called the same number anew
)

// Reasons lists every reason.
var Reasons = []Reason{
	ReasonHangup, ReasonCanceled, ReasonDeclined, ReasonBusy, ReasonNoAnswer, ReasonUnreachable,
	ReasonAnsweredElsewhere, ReasonDeclinedElsewhere, ReasonMerged, ReasonICEFailed,
	ReasonConnectionLost, ReasonMediaFailed, ReasonReplaced,
}

// CallState tells both sides what state the call is in.
type CallState struct {
	Call  string `json:"call"`
	State State  `json:"state"`
	// Restart asks this side to restart ICE now; with relays alone if
	// RelayOnly.
	Restart   bool `json:"restart,omitempty"`
	RelayOnly bool `json:"relay_only,omitempty"`
	// ICE holds the servers to use from now on, where others must be: a relay of the
	// call is drained or has died.
	ICE *ICE `json:"ice,omitempty"`
}

// CallEnded tells a device that the call is over for it.
type CallEnded struct {
	Call   string `json:"call"`
	Reason Reason `json:"reason"`
	// Mine says that this account ended it.
	Mine bool `json:"mine,omitempty"`
	// DurationMS is from answer to end, 0 if it was never answered.
	DurationMS int64 `json:"duration_ms,omitempty"`
}

// CallSync asks for a call's snapshot.
type CallSync struct {
	Call string `json:"call"`
}

// CallSnapshot is all that a device must know to take a call up again.
type CallSnapshot struct {
	Call  string      `json:"call"`
	State State       `json:"state"`
	Peer  e164.Number `json:"peer"`
	// Role is caller or callee.
	Role  Role    `json:"role"`
	Media []Media `json:"media"`
	// AgeMS and RingMS are as in call.incoming.
	AgeMS  int64 `json:"age_ms"`
	RingMS int64 `json:"ring_ms"`
	// SDP and Kind are the other side's newest description. Kind is offer, answer
	// or rollback, or pranswer for a [CallPrepared] in a call that still rings.
	SDP  string `json:"sdp,omitempty"`
	Kind string `json:"kind,omitempty"`
	// N is the number of that description, 0 for the first offer and answer.
	N int `json:"n,omitempty"`
	// Sent is the highest N of this side's own descriptions that the server
	// has.
	Sent int `json:"sent,omitempty"`
	// Candidates are the other side's, of its current generation.
	Candidates []CallCandidates `json:"candidates,omitempty"`
	ICE        ICE              `json:"ice"`
	Reason     Reason           `json:"reason,omitempty"`
}

// Role is a side of a call.
type Role string

const (
	Caller Role = "caller"
	Callee Role = "callee"
)

func (*CallInvite) Type() Type     { return TypeCallInvite }
func (*CallIncoming) Type() Type   { return TypeCallIncoming }
func (*CallRinging) Type() Type    { return TypeCallRinging }
func (*CallPrepare) Type() Type    { return TypeCallPrepare }
func (*CallPrepared) Type() Type   { return TypeCallPrepared }
func (*CallAnswer) Type() Type     { return TypeCallAnswer }
func (*CallAnswered) Type() Type   { return TypeCallAnswered }
func (*CallReject) Type() Type     { return TypeCallReject }
func (*CallBusy) Type() Type       { return TypeCallBusy }
func (*CallCancel) Type() Type     { return TypeCallCancel }
func (*CallHangup) Type() Type     { return TypeCallHangup }
func (*CallCandidates) Type() Type { return TypeCallCandidates }
func (*CallDescribe) Type() Type   { return TypeCallDescribe }
func (*CallReport) Type() Type     { return TypeCallReport }
func (*CallState) Type() Type      { return TypeCallState }
func (*CallEnded) Type() Type      { return TypeCallEnded }
func (*CallSync) Type() Type       { return TypeCallSync }

func (m *CallInvite) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.text("to", m.To, 1, e164.MaxInput)
	c.media(m.Media)
	c.text("sdp", m.SDP, 1, MaxSDP)
	return c.err()
}

func (m *CallIncoming) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.media(m.Media)
	c.text("sdp", m.SDP, 1, MaxSDP)
	return c.err()
}

func (m *CallRinging) Validate() error { return validCall(m.Call) }
func (m *CallReject) Validate() error  { return validCall(m.Call) }
func (m *CallBusy) Validate() error    { return validCall(m.Call) }
func (m *CallCancel) Validate() error  { return validCall(m.Call) }
func (m *CallSync) Validate() error    { return validCall(m.Call) }

func validCall(id string) error {
	c := check{}
	c.id("call", id)
	return c.err()
}

func (m *CallPrepare) Validate() error  { return validDescribed(m.Call, m.SDP) }
func (m *CallPrepared) Validate() error { return validDescribed(m.Call, m.SDP) }
func (m *CallAnswer) Validate() error   { return validDescribed(m.Call, m.SDP) }
func (m *CallAnswered) Validate() error { return validDescribed(m.Call, m.SDP) }

func validDescribed(call, sdp string) error {
	c := check{}
	c.id("call", call)
	c.text("sdp", sdp, 1, MaxSDP)
	return c.err()
}

func (m *CallHangup) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.word("why", string(m.Why), "", string(ReasonHangup), string(ReasonICEFailed), string(ReasonMediaFailed))
	return c.err()
}

func (m *CallCandidates) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.text("gen", m.Gen, 1, 256)
	c.number("n", int64(m.N), 1, math.MaxInt32)
	c.count("candidates", len(m.Candidates), 0, MaxBatch)
	c.that("candidates", len(m.Candidates) > 0 || m.End, "is empty and there is no end")
	for _, k := range m.Candidates {
		c.text("candidates.candidate", k.Candidate, 0, MaxCandidate)
		c.text("candidates.mid", k.Mid, 0, 64)
		if k.MLine != nil {
			c.number("candidates.mline", int64(*k.MLine), 0, 63)
		}
	}
	return c.err()
}

func (m *CallDescribe) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.number("n", int64(m.N), 1, math.MaxInt32)
	c.word("kind", m.Kind, "offer", "answer", "rollback")
	c.text("sdp", m.SDP, 0, MaxSDP)
	c.that("sdp", m.SDP != "" || m.Kind == "rollback", "is missing")
	c.that("sdp", m.SDP == "" || m.Kind != "rollback", "is given with a rollback")
	c.that("restart", !m.Restart || m.Kind == "offer", "is given without an offer")
	c.that("renew", !m.Renew || m.Kind == "offer", "is given without an offer")
	return c.err()
}

func (m *CallReport) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.word("media", string(m.Media), string(MediaConnected), string(MediaDisconnected), string(MediaFailed))
	if p := m.Path; p != nil {
		c.word("path.local", p.Local, "host", "srflx", "prflx", "relay")
		c.word("path.remote", p.Remote, "host", "srflx", "prflx", "relay")
		c.word("path.protocol", p.Protocol, "udp", "tcp")
		c.word("path.relay", p.Relay, "", "udp", "tcp", "tls")
		c.text("path.server", p.Server, 0, maxServerAt)
	}
	if q := m.Quality; q != nil {
		c.number("quality.received", q.Received, 0, MaxPackets)
		c.number("quality.lost", q.Lost, 0, MaxPackets)
		c.number("quality.jitter_ms", q.JitterMS, 0, MaxDelayMS)
		c.number("quality.rtt_ms", q.RTTMS, 0, MaxDelayMS)
	}
	if ms := m.FirstMediaMS; ms != nil {
		c.number("first_media_ms", *ms, 0, MaxDelayMS)
	}
	return c.err()
}

func (m *CallState) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.word("state", string(m.State), string(Trying), string(Ringing), string(Connecting), string(Active), string(Reconnecting), string(Ended))
	return c.err()
}

func (m *CallEnded) Validate() error {
	c := check{}
	c.id("call", m.Call)
	c.text("reason", string(m.Reason), 1, MaxID)
	return c.err()
}
