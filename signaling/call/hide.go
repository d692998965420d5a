package call

import (
	"regexp"
	"slices"
	"strings"

	"switchboard/signaling/protocol"
)

// Hide says how long the candidates of a side that tell its addresses are kept
// from the other: all but relay candidates.
type Hide string

const (
	HideNothing Hide = ""
	HideRinging Hide = "ringing" // until the call is answered
	HideAlways  Hide = "always"
)

// hides reports whether addresses of the side are kept from the other now.
func (c *Call) hides(s *Side) bool {
	return s.Hide == HideAlways || s.Hide == HideRinging && c.Alerting()
}

// pass takes candidates of a side and returns what of them the other side may
// have now, as one message that is numbered in the order of passing. What it may
// have later is held.
func (c *Call) pass(s *Side, list []protocol.Candidate, end bool) []protocol.CallCandidates {
	if c.hides(s) {
		var relays []protocol.Candidate
		for _, k := range list {
			switch {
			case relayed(k.Candidate):
				k.Candidate = withoutRelatedAddress(k.Candidate)
				relays = append(relays, k)
			case k.Candidate == "":
				relays = append(relays, k) // the end of one media section
			case s.Hide == HideRinging:
				s.Held = append(slices.Clip(s.Held), k)
			}
		}
		list = relays
	}
	if end && len(s.Held) > 0 {
		s.HeldEnd, end = true, false
	}
	if len(list) == 0 && !end {
		return nil
	}
	out := protocol.CallCandidates{Call: c.ID, Gen: s.Gen, N: len(s.Candidates) + 1, Candidates: list, End: end}
	s.Candidates = append(slices.Clip(s.Candidates), out)
	return []protocol.CallCandidates{out}
}

// release returns what was held of a side, in messages, now that the other may
// have it.
func (c *Call) release(s *Side) []protocol.CallCandidates {
	if len(s.Held) == 0 || c.hides(s) {
		return nil
	}
	held, end := s.Held, s.HeldEnd
	s.Held, s.HeldEnd = nil, false
	var out []protocol.CallCandidates
	for chunk := range slices.Chunk(held, protocol.MaxBatch) {
		last := len(chunk) == len(held)
		held = held[len(chunk):]
		out = append(out, c.pass(s, chunk, end && last)...)
	}
	return out
}

// describeAs returns the description as the other side may have it. Candidates in
// it that it may have later are held.
func (c *Call) describeAs(s *Side, sdp string) string {
	if !c.hides(s) {
		return sdp
	}
	clean, held := withoutAddresses(sdp)
	if s.Hide == HideRinging {
		s.Held, s.HeldEnd, s.Gen, s.Count = held, false, protocol.Generation(sdp), len(held)
	}
	return clean
}

// Same reports whether the side's newest description was made from this one.
func (s *Side) Same(sdp string) bool {
	if s.SDP == sdp {
		return true
	}
	clean, _ := withoutAddresses(sdp)
	return s.Hide != HideNothing && s.SDP == clean
}

// relayed reports whether a candidate line is one of a relay: foundation,
// component, transport, priority, address, port, then the type (RFC 8839 §5.1).
func relayed(candidate string) bool {
	f := strings.Fields(candidate)
	return len(f) >= 8 && f[6] == "typ" && f[7] == "relay"
}

var related = regexp.MustCompile(`\braddr \S+ rport \S+`)

// withoutRelatedAddress blanks the address from which a relay candidate was
// allocated, as RFC 8839 §5.1 has it for privacy.
func withoutRelatedAddress(candidate string) string {
	return related.ReplaceAllStringFunc(candidate, func(s string) string {
		if strings.Contains(s, ":") {
			return "raddr :: rport 9"
		}
		return "raddr 0.0.0.0 rport 9"
	})
}

// withoutAddresses returns a description in which nothing but relay candidates
// tells an address, and the candidates that were taken out of it, each with the
// index of its media section. At most [protocol.MaxCandidates] are returned.
func withoutAddresses(sdp string) (clean string, taken []protocol.Candidate) {
	var b strings.Builder
	section := -1
	for line := range strings.Lines(sdp) {
		text := strings.TrimRight(line, "\r\n")
		end := line[len(text):]
		switch {
		case strings.HasPrefix(text, "m="):
			section++
		case strings.HasPrefix(text, "o="):
			if f := strings.Fields(text); len(f) == 6 {
				text = strings.Join(f[:4], " ") + " IP4 0.0.0.0"
			}
		case strings.HasPrefix(text, "c="):
			text = "c=IN IP4 0.0.0.0"
		case strings.HasPrefix(text, "a=rtcp:"):
			text = "a=rtcp:9 IN IP4 0.0.0.0"
		case strings.HasPrefix(text, "a=candidate:"):
			if relayed(text) {
				text = withoutRelatedAddress(text)
				break
			}
			if len(taken) < protocol.MaxCandidates && len(text)-len("a=") <= protocol.MaxCandidate {
				line := max(section, 0)
				taken = append(taken, protocol.Candidate{Candidate: text[len("a="):], MLine: &line})
			}
			continue
		}
		b.WriteString(text + end)
	}
	return b.String(), taken
}
