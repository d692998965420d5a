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
// A relay is reached by TCP and TLS only where it does not answer over UDP. The other side's
// library would choose among three candidates of one relay by which of its checks came
// before the word of them, and so now and then take TLS where UDP does.

const (
	// headStart is how long the relays after the first wait. It is above batchFor, so that
	// their candidates are not in one message with the first one's.
	headStart = 200 * time.Millisecond
	// acceptAfter is how long it waits, when all goes through relays, for better pairs than
	// the first that works.
	acceptAfter = 100 * time.Millisecond
	// udpWithin is how long TCP and TLS wait for the relay's answer over UDP. That is less than
	// the ICE library waits for better pairs before it takes one with a relay.
	udpWithin = 500 * time.Millisecond
)

// errUDPDoes is why a relay is not reached by TCP or TLS.
var errUDPDoes = errors.New("the relay is reached over UDP")

// relayOrder is which relays are reached later, and until when they wait. It may be used
// by several goroutines.
type relayOrder struct {
	mu    sync.Mutex
	later map[string]bool // host:port; guarded by mu
	until time.Time       // guarded by mu

	overUDP  map[string]string        // from a way by TCP or TLS to the same relay's over UDP, both host:port; guarded by mu
	answered map[string]chan struct{} // by such a way over UDP: closed once there is an allocation; guarded by mu
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
	o.overUDP, o.answered = map[string]string{}, map[string]chan struct{}{}
	for _, relay := range relaysOf(ice) {
		i := slices.IndexFunc(relay, func(w way) bool { return w.transport == "udp" })
		if i < 0 {
			continue
		}
		o.answered[relay[i].server] = make(chan struct{})
		for _, w := range relay {
			if w.transport != "udp" {
				o.overUDP[w.server] = relay[i].server
			}
		}
	}
}

// answers notes that a relay has given an allocation over UDP.
func (o *relayOrder) answers(at string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.answered[at]; c != nil {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

// needs waits until a relay has answered over UDP, and returns false then, or until it has had
// its time for that. ctx bounds the wait.
func (o *relayOrder) needs(ctx context.Context, at string) bool {
	o.mu.Lock()
	answered := o.answered[o.overUDP[at]]
	o.mu.Unlock()
	if answered == nil {
		return true // there is no other way
	}
	late := time.NewTimer(udpWithin)
	defer late.Stop()
	select {
	case <-answered:
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
