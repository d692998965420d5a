package phone

import (
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

// story is what happened in a call, as it happened. Its methods may be called
// concurrently.
type story struct {
	// Static.
	began time.Time
	told  func(Moment) // may be nil; called with mu held, so that it hears them in their order

	mu         sync.Mutex
	moments    []Moment
	candidates []Candidate
	paths      []PathChange
	connected  time.Time // ICE for the first time
}

// The bounds of a story: of a call that restarts on and on, what comes after them is left
// out.
const (
	maxMoments    = 512
	maxCandidates = 256
	maxPaths      = 64
)

// add notes that something has happened now.
func (s *story) add(what What, detail string) { s.addAt(time.Now(), what, detail) }

func (s *story) addAt(at time.Time, what What, detail string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(Moment{At: at.Sub(s.began), What: what, Detail: detail})
}

// put is for who holds mu.
func (s *story) put(m Moment) {
	if len(s.moments) >= maxMoments {
		return
	}
	s.moments = append(s.moments, m)
	if s.told != nil {
		s.told(m)
	}
}

// candidate notes one of this side's own, and how its relay is reached.
func (s *story) candidate(c *webrtc.ICECandidate, w way) {
	found := Candidate{
		Type: c.Typ.String(), Address: addressOf(c), Base: related(c),
		Protocol: c.Protocol.String(),
	}
	if c.Typ == webrtc.ICECandidateTypeRelay {
		found.Relay, found.Server = w.transport, w.server
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.Contains(s.candidates, found) {
		return
	}
	if len(s.candidates) < maxCandidates {
		s.candidates = append(s.candidates, found)
	}
	s.put(Moment{At: time.Since(s.began), What: CandidateFound, Detail: found.String()})
}

// path notes the one that media takes from now on, between two addresses.
func (s *story) path(p *protocol.Path, local, remote string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Since(s.began)
	if len(s.paths) < maxPaths {
		s.paths = append(s.paths, PathChange{At: at, Path: *p, Local: local, Remote: remote})
	}
	s.put(Moment{At: at, What: PairSelected, Detail: PathWord(p)})
}

// ice notes the state of ICE.
func (s *story) ice(state webrtc.ICETransportState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now()
	what, ok := map[webrtc.ICETransportState]What{
		webrtc.ICETransportStateConnected: ICEConnected, webrtc.ICETransportStateDisconnected: Disconnected,
		webrtc.ICETransportStateFailed: Failed,
	}[state]
	if !ok {
		return
	}
	if what == ICEConnected && s.connected.IsZero() {
		s.connected = at
	}
	s.put(Moment{At: at.Sub(s.began), What: what})
}

// watchICE has the ICE of a connection tell the story, until it is gone.
func (p *phone) watchICE(t *webrtc.ICETransport, gone <-chan struct{}) {
	unless := func(f func()) {
		select {
		case <-gone:
		case <-p.done:
		default:
			f()
		}
	}
	t.OnSelectedCandidatePairChange(func(pair *webrtc.ICECandidatePair) {
		unless(func() {
			local := ""
			if pair.Local.Typ == webrtc.ICECandidateTypeRelay {
				local = related(pair.Local)
			}
			p.network.carries(local, addressOf(pair.Remote))
			p.story.path(p.pathOf(pair), addressOf(pair.Local), addressOf(pair.Remote))
		})
	})
	t.OnConnectionStateChange(func(s webrtc.ICETransportState) { unless(func() { p.story.ice(s) }) })
}
