package phone

import (
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// patience is how long a relay may be silent when it is asked for a permission. The TURN
// client sends such a request at 0, 0.2, 0.6, 1.4 and 3 s, and so on for 8 s, and sees only as it
// sends that its socket has been closed: what ends right before 1.4 s is over then. It has
// seen an answer before, when it allocated, over a path with a round trip that is not as
// long.
const patience = 1300 * time.Millisecond

// silence finds out that the path to a relay is dead. The ICE library sends checks through
// a relay from the one goroutine that does everything, which waits there for the permission
// (RFC 8656 section 9) to be granted: for 8 s for each address of the other side, if nothing
// comes back. It may be used by several goroutines.
type silence struct {
	broken func() // is called in a goroutine of its own, as often as that is found

	mu    sync.Mutex
	alarm *time.Timer // guarded by mu; nil if nothing is waited for
	over  bool        // guarded by mu
}

// sent notes what is sent to the relay. Who asks again, for want of an answer, does not wait
// longer.
func (s *silence) sent(b []byte) {
	if !asksPermission(b) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarm == nil && !s.over {
		s.alarm = time.AfterFunc(patience, s.broken)
	}
}

// heard notes that something has come from the relay.
func (s *silence) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stop()
}

// end is called when the socket is closed.
func (s *silence) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.stop()
}

// stop is for who holds mu.
func (s *silence) stop() {
	if s.alarm != nil {
		s.alarm.Stop()
		s.alarm = nil
	}
}

// asksPermission reports whether a message is a CreatePermission request.
func asksPermission(b []byte) bool {
	return len(b) >= 20 && b[0] == 0 && b[1] == 8 && stun.IsMessage(b)
}
