package virtual

import (
	"time"

	"switchboard/cmd/internal/phone"
	"switchboard/cmd/natlab/internal/report"
)

// sideOf is a phone's view of its call: with the path that it had a time after the invite,
// and with the one at the end.
func sideOf(host string, s phone.Summary, at time.Duration) (then, end report.Side) {
	end = report.Side{
		Host: host, End: string(s.Reason), Connected: s.Connected, FirstMedia: s.Media, Pairs: s.Pairs, Tried: s.Tried,
		Sent: s.Sent, Received: s.Received, Lost: s.Lost, Frames: s.Frames, Gap: max(s.Gap, s.Silent), RoundTrip: s.RoundTrip, Restarts: s.Restarts,
	}
	if s.Gap >= s.Silent {
		end.GapAt = s.GapAt
	}
	for _, c := range s.Candidates {
		end.Candidates = append(end.Candidates, report.Candidate{Type: c.Type, Address: c.Address, Base: c.Base, Protocol: c.Protocol, Relay: c.Relay})
	}
	then = end
	for i, p := range s.Paths {
		if i == 0 || p.At <= at {
			onPath(&then, p)
		}
		onPath(&end, p)
	}
	return then, end
}

func onPath(s *report.Side, p phone.PathChange) {
	s.Local, s.Remote, s.Relay, s.Server = p.Path.Local, p.Path.Remote, p.Path.Relay, p.Path.Server
	s.LocalAddress, s.RemoteAddress = p.Local, p.Remote
}
