package nat

import (
	"math/rand/v2"
	"net/netip"
	"time"
)

// Table is the state of one NAT with one external IPv4 address.
type Table struct {
	// Static after New.
	nat      NAT
	external netip.Addr

	ports    [2]ports // of UDP and TCP
	mappings map[mappingKey]*mapping
	sessions sessions
	// sentTo counts an internal UDP endpoint's sessions with an address, where filtering
	// depends on that.
	sentTo map[sentKey]int
}

// mapping is an external port that an internal endpoint has, towards the remotes of its
// key. No port is ever that of two mappings of a protocol (RFC 4787, REQ-3).
type mapping struct {
	key      mappingKey
	port     uint16
	sessions int // it ends with the last
}

type mappingKey struct {
	proto    Proto
	internal netip.AddrPort
	// remote has as much of the remote endpoint as the mapping depends on.
	remote netip.AddrPort
}

type sentKey struct {
	internal netip.AddrPort
	remote   netip.Addr
}

// New returns the empty table of a NAT that is seen from outside as external, an IPv4
// address. n must be valid. The table keeps rnd, which it needs for ports.
func New(n NAT, external netip.Addr, rnd *rand.Rand) *Table {
	t := &Table{nat: n, external: external}
	for i := range t.ports {
		t.ports[i] = newPorts(n.Ports, n.PortRange, rnd)
	}
	t.Reset()
	return t
}

// Reset forgets all mappings and sessions, as a reboot does.
func (t *Table) Reset() {
	for i := range t.ports {
		t.ports[i].taken = make(map[uint16]*mapping)
	}
	t.mappings = make(map[mappingKey]*mapping)
	t.sentTo = make(map[sentKey]int)
	timeout := t.nat.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	t.sessions = newSessions(timeout, t.ended)
}

// Mappings is the number of external ports in use, counting what has run out since the last
// packet.
func (t *Table) Mappings() int { return len(t.mappings) }

// Outbound translates a packet from inside. With the verdict Forward it goes on to the
// outside; with Hairpin, to the inside endpoint that is now its destination; with any other
// it is dropped and unchanged.
//
// TCP packets make a session even in mid-connection, but resets do not: after a reboot, a
// connection goes on if it gets the same port again, and is else reset by its far end. Most
// NATs do so.
func (t *Table) Outbound(now time.Time, p Packet) (Packet, Verdict) {
	t.sessions.expire(now)
	remote, ok := t.outside(p)
	if !ok {
		return p, Untranslated
	}
	if remote.Addr() == t.external && !t.nat.Hairpin {
		return p, NoHairpin
	}
	s, v := t.session(sessionKey{p.Proto, p.Src, remote}, p.Flags)
	if v.Dropped() {
		return p, v
	}
	t.sessions.out(now, s, p.Flags)
	seen := Packet{p.Proto, p.Flags, netip.AddrPortFrom(t.external, s.mapping.port), remote}
	if remote.Addr() != t.external {
		return seen, Forward
	}
	back, v := t.inbound(now, seen)
	if v.Dropped() {
		return p, v
	}
	return back, Hairpin
}

// Inbound translates a packet from outside to the external address. With any verdict but
// Forward it is dropped and unchanged.
func (t *Table) Inbound(now time.Time, p Packet) (Packet, Verdict) {
	t.sessions.expire(now)
	return t.inbound(now, p)
}

func (t *Table) inbound(now time.Time, p Packet) (Packet, Verdict) {
	if !translated(p.Proto) || !p.Src.Addr().Is4() {
		return p, Untranslated
	}
	m := t.of(p.Proto).taken[p.Dst.Port()]
	if m == nil || p.Dst.Addr() != t.external {
		return p, NoMapping
	}
	s := t.sessions.byKey[sessionKey{p.Proto, m.key.internal, p.Src}]
	if !t.permits(m, s, p.Src) {
		return p, Filtered
	}
	if s != nil {
		t.sessions.in(now, s, p.Flags)
	}
	p.Dst = m.key.internal
	if p.Dst.Addr().Is6() {
		p.Src = netip.AddrPortFrom(Embed(p.Src.Addr()), p.Src.Port())
	}
	return p, Forward
}

// permits is the filter. The state is the internal endpoint's, whichever of its mappings
// the packet came to (RFC 4787 section 5), but a connection has one mapping. s is the session
// of the two endpoints, if any.
func (t *Table) permits(m *mapping, s *session, src netip.AddrPort) bool {
	switch {
	case m.key.proto == TCP:
		return s != nil && s.mapping == m
	case t.nat.Filtering == EndpointIndependent:
		return true
	case t.nat.Filtering == AddressDependent:
		return t.sentTo[sentKey{m.key.internal, src.Addr()}] > 0
	}
	return s != nil
}

// outside is the packet's destination as the outside knows it; false if there is no
// translation for it.
func (t *Table) outside(p Packet) (netip.AddrPort, bool) {
	src, dst := p.Src.Addr(), p.Dst.Addr()
	switch {
	case !translated(p.Proto):
		return p.Dst, false
	case src.Is4() && dst.Is4():
		return p.Dst, true
	case t.nat.NAT64 && src.Is6() && Prefix64.Contains(dst):
		return netip.AddrPortFrom(Extract(dst), p.Dst.Port()), true
	}
	return p.Dst, false
}

// session finds or begins one, with its mapping.
func (t *Table) session(key sessionKey, f Flags) (*session, Verdict) {
	if s := t.sessions.byKey[key]; s != nil {
		return s, Forward
	}
	if f&RST != 0 {
		return nil, NoMapping
	}
	if t.sessions.full() {
		return nil, Full
	}
	m, v := t.mapping(t.mappingKey(key))
	if v.Dropped() {
		return nil, v
	}
	m.sessions++
	if t.countsSent(key.proto) {
		t.sentTo[sentKey{key.internal, key.remote.Addr()}]++
	}
	return t.sessions.add(key, m), Forward
}

func (t *Table) mapping(key mappingKey) (*mapping, Verdict) {
	if m := t.mappings[key]; m != nil {
		return m, Forward
	}
	port, ok := t.of(key.proto).choose(key.internal.Port())
	if !ok {
		return nil, Exhausted
	}
	m := &mapping{key: key, port: port}
	t.of(key.proto).taken[port] = m
	t.mappings[key] = m
	return m, Forward
}

func (t *Table) mappingKey(key sessionKey) mappingKey {
	k := mappingKey{proto: key.proto, internal: key.internal}
	switch t.nat.Mapping {
	case AddressDependent:
		k.remote = netip.AddrPortFrom(key.remote.Addr(), 0)
	case AddressAndPortDependent:
		k.remote = key.remote
	}
	return k
}

// ended takes away what only the session held.
func (t *Table) ended(s *session) {
	if t.countsSent(s.key.proto) {
		k := sentKey{s.key.internal, s.key.remote.Addr()}
		if t.sentTo[k]--; t.sentTo[k] == 0 {
			delete(t.sentTo, k)
		}
	}
	m := s.mapping
	if m.sessions--; m.sessions == 0 {
		delete(t.mappings, m.key)
		delete(t.of(m.key.proto).taken, m.port)
	}
}

func (t *Table) countsSent(p Proto) bool {
	return p == UDP && t.nat.Filtering == AddressDependent
}

func (t *Table) of(p Proto) *ports {
	if p == TCP {
		return &t.ports[1]
	}
	return &t.ports[0]
}

func translated(p Proto) bool { return p == UDP || p == TCP }
