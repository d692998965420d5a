package main

import (
	"fmt"
	"time"

	"switchboard/signaling/protocol"
)

// summary is how a call went.
type summary struct {
	reason    protocol.Reason
	path      *protocol.Path
	ringing   time.Duration // from the invite; 0 if it did not come to it, as the next two
	answer    time.Duration
	media     time.Duration // from the answer to the first sound
	talked    time.Duration
	sent      uint64
	received  uint64
	lost      uint64
	gap       time.Duration // the longest without sound of the other side
	jitter    time.Duration
	roundTrip time.Duration
	frames    uint64
	restarts  int
	gaveUp    bool // it was this side that let it ring no longer
}

// summary is called once talk has returned and before close.
func (p *phone) summary(end protocol.CallEnded, path *protocol.Path, rtt time.Duration) summary {
	l := p.heard
	l.mu.Lock()
	defer l.mu.Unlock()
	s := summary{
		reason: end.Reason, path: path, talked: time.Duration(end.DurationMS) * time.Millisecond,
		sent: p.player.packets.Load(), received: l.packets, lost: l.lost, gap: l.gap,
		jitter: time.Duration(l.jitter / sampleRate * float64(time.Second)), roundTrip: rtt,
		frames: l.frames, restarts: p.restarts, gaveUp: p.gaveUp,
	}
	if !p.times.rang.IsZero() {
		s.ringing = p.times.rang.Sub(p.times.began)
	}
	if !p.times.answered.IsZero() {
		s.answer = p.times.answered.Sub(p.times.began)
		if !l.first.IsZero() {
			s.media = l.first.Sub(p.times.answered)
		}
	}
	return s
}

func (s summary) print(o *output) {
	o.event("ended", "reason", s.reason, "path", pathWord(s.path), "ringing_after", s.ringing, "answered_after", s.answer,
		"first_media_after", s.media, "talked", s.talked, "packets_sent", s.sent, "packets_received", s.received,
		"packets_lost", s.lost, "longest_gap", s.gap, "jitter", s.jitter, "round_trip", s.roundTrip, "video_frames", s.frames, "ice_restarts", s.restarts)
}

// pathWord is a path in words: host, srflx, prflx, or relay and the transport
// to it, of both sides.
func pathWord(p *protocol.Path) string {
	if p == nil {
		return "none"
	}
	local := p.Local
	if p.Relay != "" {
		local = fmt.Sprintf("relay(%s)", p.Relay)
	}
	return fmt.Sprintf("%s-%s/%s", local, p.Remote, p.Protocol)
}

// serverOf is the relay of a path, as host:port, "" without one or if it is not known.
func serverOf(p *protocol.Path) string {
	if p == nil {
		return ""
	}
	return p.Server
}

// exitFor is the exit code for how a call that this side made ended.
func (s summary) exitFor() error {
	code, text := exitOK, ""
	switch s.reason {
	case protocol.ReasonCanceled:
		if s.gaveUp {
			code, text = exitNoAnswer, "nobody answered in time"
		}
	case protocol.ReasonNoAnswer:
		code, text = exitNoAnswer, "nobody answered"
	case protocol.ReasonBusy:
		code, text = exitBusy, "busy"
	case protocol.ReasonDeclined:
		code, text = exitDeclined, "declined"
	case protocol.ReasonUnreachable:
		code, text = exitUnreachable, "the number cannot be reached"
	case protocol.ReasonICEFailed, protocol.ReasonConnectionLost, protocol.ReasonMediaFailed:
		code, text = exitMedia, "the media failed: "+string(s.reason)
	case protocol.ReasonHangup:
		if s.received == 0 {
			code, text = exitMedia, "no sound came from the other side"
		}
	}
	if code == exitOK {
		return nil
	}
	return &exit{code, fmt.Errorf("%s", text)}
}
