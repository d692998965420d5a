package relay

import (
	"encoding/binary"
	"net/netip"
	"time"

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
	quotaReached         = stun.CodeAllocQuotaReached
	otherFamily          = stun.CodePeerAddrFamilyMismatch
	insufficientCapacity = stun.CodeInsufficientCapacity
)

// refuse says why a request with good credentials is not for the TURN library, and
// the code for the client; 0 when it is. The library would leave some of these
// without an answer, for which a client waits tens of seconds, and answer others
// with a code that clients take for wrong credentials.
func (g *guard) refuse(m *stun.Message, c client, who identity, now time.Time) (refusal, stun.ErrorCode) {
	a := g.table.of(c)
	if m.Type.Method == stun.MethodAllocate {
		if a != nil {
			return "", 0 // a repeat, or 437
		}
		return g.refuseAllocate(m, c, who, now)
	}
	switch {
	case a == nil:
		return refusedMismatch, allocationMismatch
	case who != a.owner:
		return refusedOwner, wrongCredentials
	case m.Type.Method == stun.MethodChannelBind:
		return g.refuseChannel(m, a, now)
	case m.Type.Method == stun.MethodCreatePermission:
		return g.refusePermissions(m, a, now)
	}
	return "", 0
}

func (g *guard) refuseAllocate(m *stun.Message, c client, who identity, now time.Time) (refusal, stun.ErrorCode) {
	if g.table.draining.Load() {
		return refusedDraining, insufficientCapacity
	}
	const tcp = 6
	if v, err := m.Get(stun.AttrRequestedTransport); err == nil && len(v) > 0 && v[0] == tcp {
		return refusedTCPRelay, unsupportedTransport
	}
	if contradicts(m) {
		return refusedMalformed, badRequest
	}
	if m.Contains(stun.AttrEvenPort) || m.Contains(stun.AttrReservationToken) {
		return refusedEvenPort, insufficientCapacity
	}
	list := g.addresses.unasked()
	if v, err := m.Get(stun.AttrRequestedAddressFamily); err == nil && len(v) > 0 {
		const four, six = 1, 2
		if list = nil; v[0] == four {
			list = g.addresses.four
		} else if v[0] == six {
			list = g.addresses.six
		}
		if len(list) == 0 {
			return refusedFamily, unsupportedFamily
		}
	}
	if _, ok := leastUsed(list); !ok {
		return refusedPorts, insufficientCapacity
	}
	if err := g.table.room(who, c); err != nil {
		return refusalOf(err), codeOf(err)
	}
	if !g.table.mayOpen(who.user, now) {
		return refusedUserRate, quotaReached
	}
	return "", 0
}

// additionalFamily is ADDITIONAL-ADDRESS-FAMILY (RFC 8656 section 18.11).
const additionalFamily stun.AttrType = 0x8000

// contradicts reports whether an Allocate request has attributes that exclude each
// other (RFC 8656 section 7.2, checks 5, 6, 8 and 9).
func contradicts(m *stun.Message) bool {
	additional, err := m.Get(additionalFamily)
	two := err == nil
	even, err := m.Get(stun.AttrEvenPort)
	pair := err == nil && len(even) > 0 && even[0]&0x80 != 0
	const four = 1
	switch {
	case m.Contains(stun.AttrReservationToken):
		return two || m.Contains(stun.AttrEvenPort) || m.Contains(stun.AttrRequestedAddressFamily)
	case two:
		return pair || m.Contains(stun.AttrRequestedAddressFamily) || len(additional) > 0 && additional[0] == four
	}
	return false
}

// codeOf tells a relay that is full, from which a client goes elsewhere, from a
// client that has enough (RFC 8656 section 7.2).
func codeOf(err error) stun.ErrorCode {
	if err == errQuotaTotal {
		return insufficientCapacity
	}
	return quotaReached
}

func (g *guard) refuseChannel(m *stun.Message, a *allocation, now time.Time) (refusal, stun.ErrorCode) {
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
		if why := g.table.roomForPeers(a, []netip.Addr{peer.Addr()}, now); why != "" {
			return why, insufficientCapacity
		}
	}
	if !g.table.mayBind(a, channel) {
		return refusedChannels, insufficientCapacity
	}
	return "", 0
}

// refusePermissions judges all peers of a request before any gets a permission
// (RFC 8656 section 10.2). Peers that nobody may reach are 403; too many, or too
// many new ones in a moment, are 508: the same request may be good later.
func (g *guard) refusePermissions(m *stun.Message, a *allocation, now time.Time) (refusal, stun.ErrorCode) {
	var peers []netip.Addr
	for _, attribute := range m.Attributes {
		if attribute.Type != stun.AttrXORPeerAddress {
			continue
		}
		one := stun.Message{TransactionID: m.TransactionID, Attributes: stun.Attributes{attribute}}
		peer, ok := addrPort(&one, stun.AttrXORPeerAddress)
		switch {
		case !ok:
			return refusedMalformed, badRequest
		case peer.Addr().Is4() != a.relay.Addr().Is4():
			return refusedFamily, otherFamily
		}
		if d := g.policy.address(peer.Addr()); d != allowed {
			g.metrics.denied[d].Inc()
			return refusedPeer, forbiddenPeer
		}
		peers = append(peers, peer.Addr())
	}
	if why := g.table.roomForPeers(a, peers, now); why != "" {
		return why, insufficientCapacity
	}
	return "", 0
}
