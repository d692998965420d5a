package phone

import "github.com/pion/webrtc/v4"

// pairs are those of candidates that ICE has had, by id, and whether it has sent checks
// on them.
type pairs map[string]bool

// maxPairs bounds them: of a call that restarts on and on, what comes after is left out.
const maxPairs = 10_000

// count adds the pairs of a connection's present generation. It is called before
// another begins.
func (p pairs) count(pc *webrtc.PeerConnection) {
	for _, s := range pc.GetStats() {
		pair, ok := s.(webrtc.ICECandidatePairStats)
		if _, known := p[pair.ID]; !ok || !known && len(p) >= maxPairs {
			continue
		}
		p[pair.ID] = p[pair.ID] || pair.RequestsSent > 0
	}
}

// tried is on how many of them checks were sent.
func (p pairs) tried() (n int) {
	for _, sent := range p {
		if sent {
			n++
		}
	}
	return n
}
