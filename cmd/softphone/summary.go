package main

import (
	"fmt"
	"time"

	"switchboard/cmd/internal/phone"
	"switchboard/signaling/protocol"
)

// printSummary prints how a call went: in JSON with all that is known, see the help of
// call.
func printSummary(o *output, s phone.Summary) {
	pairs := []any{"reason", s.Reason, "path", phone.PathWord(s.Path), "ringing_after", s.Ringing, "answered_after", s.Answer,
		"first_media_after", s.Media, "talked", s.Talked, "packets_sent", s.Sent, "packets_received", s.Received,
		"packets_lost", s.Lost, "longest_gap", s.Gap, "jitter", s.Jitter, "round_trip", s.RoundTrip, "video_frames", s.Frames, "ice_restarts", s.Restarts}
	if o.json {
		pairs = append(pairs, details(s)...)
	}
	o.event("ended", pairs...)
}

// endedHelp says what printSummary prints in JSON.
const endedHelp = `
A call that was answered ends with a line "ended". With -json it has, beside what the
line of text says ("path", "first_media_after" and so on; times are milliseconds):

  began            when, a moment before the invite; what follows "at" is after it
  answered         whether somebody did, and
  connected_after    from then to the first path, 0 if it was there before
  selected         the path that carried the media last, an object:
                     local, remote   host, srflx, prflx or relay, of both sides
                     protocol        udp or tcp, between the two
                     relay           udp, tcp or tls, from this side to its relay
                     server          the relay, host:port as in its URL
  paths            all paths that were selected, from the first to the last, each
                   with "at": more than one if the path changed in the call
  candidates       this side's own, each with type, address (host:port), base (the
                   related address), protocol, and relay and server as above
  pairs            how many pairs of candidates there were, and
  pairs_tried        on how many of them checks were sent
  longest_gap_at   when the longest gap in what was heard began
  silent_at_end    from the last packet to the end
  moments          what happened, each with "at", "what" and perhaps "detail":
                     invited, ringing, answered, candidate found, pair selected,
                     ice connected, connected, first media, disconnected, failed,
                     restart, ended

What is not known, or does not apply, is left out of objects.
`

// details are what only programs are told of a call.
func details(s phone.Summary) []any {
	paths, candidates, moments := []any{}, []any{}, []any{}
	for _, p := range s.Paths {
		paths = append(paths, pathObject(p.Path, "at", millis(p.At), "local_address", p.Local, "remote_address", p.Remote))
	}
	for _, c := range s.Candidates {
		candidates = append(candidates, object("type", c.Type, "address", c.Address, "base", c.Base, "protocol", c.Protocol,
			"relay", c.Relay, "server", c.Server))
	}
	for _, m := range s.Moments {
		moments = append(moments, object("at", millis(m.At), "what", m.What, "detail", m.Detail))
	}
	pairs := []any{"began", s.Began.UTC().Format(time.RFC3339Nano), "answered", s.Answered, "connected_after", s.Connected,
		"longest_gap_at", s.GapAt, "silent_at_end", s.Silent, "pairs", s.Pairs, "pairs_tried", s.Tried,
		"paths", paths, "candidates", candidates, "moments", moments}
	if s.Path != nil {
		pairs = append(pairs, "selected", pathObject(*s.Path))
	}
	return pairs
}

func pathObject(p protocol.Path, more ...any) map[string]any {
	return object(append(more, "local", p.Local, "remote", p.Remote, "protocol", p.Protocol, "relay", p.Relay, "server", p.Server)...)
}

// object is a JSON object of pairs of name and value, without those that are "".
func object(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			m[pairs[i].(string)] = pairs[i+1]
		}
	}
	return m
}

// exitFor is the exit code for how a call that this side made ended.
func exitFor(s phone.Summary) error {
	code, text := exitOK, ""
	switch s.Reason {
	case protocol.ReasonCanceled:
		if s.GaveUp {
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
		code, text = exitMedia, "the media failed: "+string(s.Reason)
	case protocol.ReasonHangup:
		if s.Received == 0 {
			code, text = exitMedia, "no sound came from the other side"
		}
	}
	if code == exitOK {
		return nil
	}
	return &exit{code, fmt.Errorf("%s", text)}
}
