package relay

import (
	"encoding/binary"

	"github.com/pion/stun/v4"
)

// Error codes that a client is told (RFC 8656 section 19).
const (
	badRequest           = stun.CodeBadRequest
	forbiddenPeer        = stun.CodeForbidden
	allocationMismatch   = stun.CodeAllocMismatch
	wrongCredentials     = stun.CodeWrongCredentials
	unsupportedTransport = stun.CodeUnsupportedTransProto
	unsupportedFamily    = stun.CodeAddrFamilyNotSupported
	insufficientCapacity = stun.CodeInsufficientCapacity
)

// refuse says why a request is not for the TURN library, and the code for the
// client; 0 when it is. The library would leave some of these without an answer,
// for which a client waits tens of seconds, and answer others with a code that
// clients take for wrong credentials.
func (g *guard) refuse(m *stun.Message, c client) (refusal, stun.ErrorCode) {
	a := g.table.of(c)
	if m.Type.Method == stun.MethodAllocate {
		if a != nil {
			return "", 0 // a repeat, or 437
		}
		return g.refuseAllocate(m)
	}
	switch {
	case a == nil:
		return refusedMismatch, allocationMismatch
	case g.ownerOf(m) != a.owner:
		return refusedOwner, wrongCredentials
	case m.Type.Method == stun.MethodChannelBind:
		return g.refuseChannel(m, a)
	}
	return "", 0
}

func (g *guard) refuseAllocate(m *stun.Message) (refusal, stun.ErrorCode) {
	if g.table.draining.Load() {
		return refusedDraining, insufficientCapacity
	}
	const tcp = 6
	if v, err := m.Get(stun.AttrRequestedTransport); err == nil && len(v) > 0 && v[0] == tcp {
		return refusedTCPRelay, unsupportedTransport
	}
	if m.Contains(stun.AttrEvenPort) || m.Contains(stun.AttrReservationToken) {
		return refusedEvenPort, insufficientCapacity
	}
	const four, six = 1, 2
	if v, err := m.Get(stun.AttrRequestedAddressFamily); err == nil && len(v) > 0 {
		if v[0] == four && !g.addresses.four.public.IsValid() || v[0] == six && !g.addresses.six.public.IsValid() {
			return refusedFamily, unsupportedFamily
		}
	}
	return "", 0
}

func (g *guard) refuseChannel(m *stun.Message, a *allocation) (refusal, stun.ErrorCode) {
	v, err := m.Get(stun.AttrChannelNumber)
	if err != nil || len(v) < 2 {
		return "", 0
	}
	channel := binary.BigEndian.Uint16(v)
	if channel < minChannel || channel > maxChannel {
		return refusedNumber, badRequest
	}
	if peer, ok := addrPort(m, stun.AttrXORPeerAddress); ok {
		if d := g.policy.packet(peer); d != allowed {
			g.metrics.denied[d].Inc()
			return refusedPeer, forbiddenPeer
		}
	}
	if !g.table.mayBind(a, channel) {
		return refusedChannels, insufficientCapacity
	}
	return "", 0
}

// ownerOf returns who a request claims to be from.
func (g *guard) ownerOf(m *stun.Message) identity {
	var username stun.Username
	if username.GetFrom(m) != nil {
		return identity{}
	}
	who, _, _, err := g.keys.parse(username.String())
	if err != nil {
		return identity{}
	}
	return who
}
