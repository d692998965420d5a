package phone

import (
	"slices"
	"time"

	"switchboard/signaling/protocol"
)

// Summary is how a call went, as one side saw it. Times are from Began unless they say
// otherwise.
type Summary struct {
	Reason   protocol.Reason // why it ended, "" if that is not known
	Answered bool
	GaveUp   bool // it was this side that let it ring no longer

	Began   time.Time     // a moment before the invite
	Ringing time.Duration // 0 if it did not come to it, or at once; as the next
	Answer  time.Duration
	Talked  time.Duration // from the answer, as the server counts

	// Connected is from the answer to ICE's first path, 0 if it was there before, and Media
	// to the first sound. Both are 0, too, if it did not come to them: Moments tell.
	Connected time.Duration
	Media     time.Duration

	// Path is what carried the media last, while it was up; nil if it never was. Paths are
	// all that ICE has selected, in their order: the first at the beginning, the last at
	// the end.
	Path  *protocol.Path
	Paths []PathChange
	// Candidates are this side's own, of all generations of ICE.
	Candidates []Candidate
	// Pairs is how many pairs of candidates ICE has had, and Tried on how many of them it has
	// sent checks.
	Pairs, Tried int
	Restarts     int // of ICE, by this side

	Sent, Received, Lost uint64 // packets of sound
	// Gap is the longest time without sound of the other side, between two packets, and GapAt
	// when it began. Silent is from the last packet to the call's end.
	Gap, GapAt, Silent time.Duration
	Jitter             time.Duration
	RoundTrip          time.Duration
	Frames             uint64 // of video

	Moments []Moment
}

// PathChange is a path that media has taken from a time on.
type PathChange struct {
	At   time.Duration
	Path protocol.Path
	// Local and Remote are the addresses of its candidates, host:port.
	Local, Remote string
}

// Candidate is one that ICE has had (RFC 8445 section 4).
type Candidate struct {
	Type     string // host, srflx, prflx or relay
	Address  string // host:port
	Base     string // the related address (RFC 8445 section 5.3), host:port; "" for host
	Protocol string // udp or tcp, to the other side
	Relay    string // udp, tcp or tls: from this side to its relay; "" without one
	Server   string // the relay, host:port as in its URL; "" without one
}

// String is the candidate in words.
func (c Candidate) String() string {
	kind := c.Type
	if c.Relay != "" {
		kind += "(" + c.Relay + ")"
	}
	return kind + "/" + c.Protocol + " " + c.Address
}

// Moment is something that happened in the call, and when.
type Moment struct {
	At     time.Duration
	What   What
	Detail string // a candidate, a path or a reason, in words; may be empty
}

// String is the moment in words, without its time.
func (m Moment) String() string {
	if m.Detail == "" {
		return string(m.What)
	}
	return string(m.What) + ": " + m.Detail
}

// What is a kind of moment.
type What string

// All kinds.
const (
	Invited        What = "invited" // the server has taken the invite, or it has come
	Ringing        What = "ringing"
	Answered       What = "answered"
	CandidateFound What = "candidate found"
	PairSelected   What = "pair selected"
	ICEConnected   What = "ice connected"
	Connected      What = "connected" // DTLS, too: media may flow
	Disconnected   What = "disconnected"
	Failed         What = "failed"
	Restarted      What = "restart" // of ICE; the detail says by which side
	FirstMedia     What = "first media"
	Ended          What = "ended"
)

// summary is called once talk has returned and before close.
func (p *phone) summary(end protocol.CallEnded, path *protocol.Path, rtt time.Duration) Summary {
	p.pairs.count(p.pc)
	s := Summary{
		Reason: end.Reason, GaveUp: p.gaveUp, Began: p.times.began, Path: path, Talked: time.Duration(end.DurationMS) * time.Millisecond,
		Sent: p.player.packets.Load(), RoundTrip: rtt, Restarts: p.restarts, Pairs: len(p.pairs), Tried: p.pairs.tried(),
	}
	if !p.times.rang.IsZero() {
		s.Ringing = p.times.rang.Sub(p.times.began)
	}
	if s.Answered = !p.times.answered.IsZero(); s.Answered {
		s.Answer = p.times.answered.Sub(p.times.began)
	}
	ended := p.times.ended
	if ended.IsZero() {
		ended = time.Now()
	}
	p.heard.tell(&s, p.times.answered, ended)
	p.story.tell(&s, p.times.answered)
	return s
}

// tell adds what was heard.
func (l *listener) tell(s *Summary, answered, ended time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.Received, s.Lost, s.Frames, s.Gap = l.packets, l.lost, l.frames, l.gap
	s.Jitter = time.Duration(l.jitter / sampleRate * float64(time.Second))
	if l.first.IsZero() {
		return
	}
	s.Silent = max(ended.Sub(l.last), 0)
	if l.gap > 0 {
		s.GapAt = l.gapAt.Sub(s.Began)
	}
	if !answered.IsZero() {
		s.Media = l.first.Sub(answered)
	}
}

// tell adds what happened.
func (s *story) tell(to *Summary, answered time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.Candidates, to.Paths = slices.Clone(s.candidates), slices.Clone(s.paths)
	if !answered.IsZero() && !s.connected.IsZero() {
		to.Connected = max(s.connected.Sub(answered), 0)
	}
	to.Moments = append(to.Moments, s.moments...)
	slices.SortStableFunc(to.Moments, func(a, b Moment) int { return int(a.At - b.At) })
}
