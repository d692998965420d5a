package nat

import (
	"net/netip"
	"time"
)

// TransitoryTimeout is the life of a TCP session that is not established, or not any
// more (RFC 5382 section 5).
const TransitoryTimeout = 4 * time.Minute

// MaxSessions is how many sessions a table or firewall holds. It bounds what a test that
// sends everywhere can make it keep.
const MaxSessions = 1 << 16

// sessions are those of one NAT or firewall. Each is in the map and in one of the lists,
// which hold sessions of equal timeouts, the one longest unused first: so those that have
// run out are found without looking at others.
type sessions struct {
	byKey map[sessionKey]*session
	lists [3]list // by life
	ended func(*session)
}

type sessionKey struct {
	proto            Proto
	internal, remote netip.AddrPort
}

type session struct {
	key     sessionKey
	mapping *mapping // nil in a firewall
	seen    seen

	// Owned by sessions.
	used       time.Time
	life       life
	prev, next *session
}

// life is how long a session lives unused.
type life uint8

const (
	udpLife life = iota
	transitoryLife
	establishedLife
)

// seen is what a TCP connection has been through.
type seen uint8

const (
	ackOut seen = 1 << iota
	ackIn
	finOut
	finIn
	reset

	established = ackOut | ackIn
	closed      = finOut | finIn
)

func newSessions(udp time.Duration, ended func(*session)) sessions {
	s := sessions{byKey: make(map[sessionKey]*session), ended: ended}
	for i, timeout := range []time.Duration{udp, TransitoryTimeout, TCPTimeout} {
		s.lists[i].timeout = timeout
	}
	return s
}

// expire ends those that have run out.
func (s *sessions) expire(now time.Time) {
	for i := range s.lists {
		l := &s.lists[i]
		for x := l.first; x != nil && now.Sub(x.used) >= l.timeout; x = l.first {
			l.remove(x)
			delete(s.byKey, x.key)
			s.ended(x)
		}
	}
}

// full is whether there is no room for another.
func (s *sessions) full() bool { return len(s.byKey) >= MaxSessions }

// add begins a session; touch has to follow.
func (s *sessions) add(key sessionKey, m *mapping) *session {
	x := &session{key: key, mapping: m}
	if key.proto == TCP {
		x.life = transitoryLife
	}
	s.byKey[key] = x
	s.lists[x.life].append(x)
	return x
}

// out notes a packet from inside.
func (s *sessions) out(now time.Time, x *session, f Flags) {
	if x.key.proto == TCP {
		x.sawOut(f)
	}
	s.touch(now, x)
}

// in notes a packet from outside. Those of UDP refresh nothing: RFC 4787 section 4.3 lets
// NATs differ there, and clients must count on the stricter kind.
func (s *sessions) in(now time.Time, x *session, f Flags) {
	if x.key.proto == TCP {
		x.sawIn(f)
		s.touch(now, x)
	}
}

func (s *sessions) touch(now time.Time, x *session) {
	s.lists[x.life].remove(x)
	x.used = now
	x.life = x.lifeNow()
	s.lists[x.life].append(x)
}

func (x *session) lifeNow() life {
	switch {
	case x.key.proto == UDP:
		return udpLife
	case x.seen&reset != 0, x.seen&closed == closed, x.seen&established != established:
		return transitoryLife
	}
	return establishedLife
}

func (x *session) sawOut(f Flags) {
	if f&(SYN|ACK) == SYN {
		x.seen = 0 // the same ports, another connection
	}
	x.saw(f, ackOut, finOut)
}

func (x *session) sawIn(f Flags) { x.saw(f, ackIn, finIn) }

func (x *session) saw(f Flags, ack, fin seen) {
	if f&ACK != 0 {
		x.seen |= ack
	}
	if f&FIN != 0 {
		x.seen |= fin
	}
	if f&RST != 0 {
		x.seen |= reset
	}
}

// list is a doubly linked one, so that a session moves to its end at no cost.
type list struct {
	timeout     time.Duration
	first, last *session
}

func (l *list) append(x *session) {
	x.prev, x.next = l.last, nil
	if l.last != nil {
		l.last.next = x
	} else {
		l.first = x
	}
	l.last = x
}

func (l *list) remove(x *session) {
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		l.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	} else {
		l.last = x.prev
	}
	x.prev, x.next = nil, nil
}
