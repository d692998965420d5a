package phone

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

// The server names the relays of a call in an order, the same to both sides, so that one
// relay carries both. The ICE library takes them all for equal. The phone has the first
// begin before the others, and tells the other side which of its relay candidates it
// prefers; the library decides between those that are equal by which came first.
//
// A relay is reached by TCP only where it does not answer over UDP, and by TLS only where
// it answers over neither. The other side's library would choose among three candidates
// of one relay by which of its checks came before the word of them, and so now and then
// take TLS where UDP does.

const (
	// headStart is how long the relays after the first wait. It is above batchFor, so that
	// their candidates are not in one message with the first one's.
	headStart = 200 * time.Millisecond
	// acceptAfter is how long it waits, when all goes through relays, for better pairs than
	// the first that works.
	acceptAfter = 100 * time.Millisecond
	// betterWithin is how long TCP waits for the relay's answer over UDP, and TLS, twice as
	// long, for those over both. That is less than the ICE library waits for better pairs
	// before it takes one with a relay.
	betterWithin = 500 * time.Millisecond
)

// errBetter is why a relay is not reached by TCP or TLS.
var errBetter = errors.New("the relay is reached in a better way")

// relayOrder is which relays are reached later, and until when they wait. It may be used
// by several goroutines.
type relayOrder struct {
	mu    sync.Mutex
	later map[string]bool // host:port; guarded by mu
	until time.Time       // guarded by mu

	better   map[way][]way         // those of the same relay that are, the best first; guarded by mu
	answered map[way]chan struct{} // closed once there is an allocation; guarded by mu
}

// begin is called before candidates are looked for with the servers of ice.
func (o *relayOrder) begin(ice protocol.ICE) {
	later := map[string]bool{}
	for _, relay := range relaysOf(ice)[min(1, len(relaysOf(ice))):] {
		for _, w := range relay {
			later[w.server] = true
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.later, o.until = later, time.Now().Add(headStart)
	o.better, o.answered = map[way][]way{}, map[way]chan struct{}{}
	for _, relay := range relaysOf(ice) {
		var better []way
		for _, transport := range []string{"udp", "tcp", "tls"} {
			these := slices.DeleteFunc(slices.Clone(relay), func(w way) bool { return w.transport != transport })
			for _, w := range these {
				o.better[w], o.answered[w] = better, make(chan struct{})
			}
			better = slices.Concat(better, these[:min(1, len(these))])
		}
	}
}

// answers notes that a relay has given an allocation.
func (o *relayOrder) answers(by way) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.answered[by]; c != nil {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

// needs waits until a relay has answered in a better way, and returns false then, or until
// those have had their time for that. ctx bounds the wait.
func (o *relayOrder) needs(ctx context.Context, w way) bool {
	o.mu.Lock()
	var answered [2]chan struct{} // nil where there is no such way: that is never ready
	better := o.better[w]
	for i, b := range better {
		answered[i] = o.answered[b]
	}
	o.mu.Unlock()
	if len(better) == 0 {
		return true
	}
	late := time.NewTimer(time.Duration(len(better)) * betterWithin)
	defer late.Stop()
	select {
	case <-answered[0]:
		return false
	case <-answered[1]:
		return false
	case <-late.C:
	case <-ctx.Done():
	}
	return true
}

// wait lets the first relay have its head start.
func (o *relayOrder) wait(at string) {
	o.mu.Lock()
	later, until := o.later[at], o.until
	o.mu.Unlock()
	if later {
		time.Sleep(time.Until(until)) // headStart at most; each relay has a goroutine
	}
}

// preferences give each relay candidate of a generation a priority of its own (RFC 8445
// section 5.1.2.1), the one that was found first the highest.
type preferences struct {
	gen   string
	found uint32
}

// rank changes the priority that the other side is told of a candidate.
func (r *preferences) rank(gen string, c *webrtc.ICECandidate) {
	if gen != r.gen {
		*r = preferences{gen: gen}
	}
	if c.Typ != webrtc.ICECandidateTypeRelay {
		return
	}
	const most = 15
	local := c.Priority >> 8 & 0xffff // by the transport to the relay, a small number
	c.Priority = c.Priority&^(0xffff<<8) | (local<<4|(most-min(r.found, most)))&0xffff<<8
	r.found++
}
