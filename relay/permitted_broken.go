//go:build brokenpermissions

package relay

import (
	"net/netip"

	"github.com/pion/stun/v4"
)

const heedsPermissions = false

// intrude sends a client over UDP what came from a peer without a permission, which the
// TURN library would drop, and reports whether it has.
func (c *relayConn) intrude(data []byte, from netip.AddrPort) bool {
	peer := c.of.addresses.outward(from)
	if c.of.front == nil || c.of.table.permits(c.allocation, peer.Addr()) {
		return false
	}
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), peerAddress(peer), stun.RawAttribute{Type: stun.AttrData, Value: data})
	if err != nil {
		return false
	}
	c.of.front.send(m.Raw, c.allocation.client)
	return true
}

// peerAddress is XOR-PEER-ADDRESS.
type peerAddress netip.AddrPort

// AddTo implements [stun.Setter].
func (p peerAddress) AddTo(m *stun.Message) error {
	at := netip.AddrPort(p)
	return (&stun.XORMappedAddress{IP: at.Addr().AsSlice(), Port: int(at.Port())}).AddToAs(m, stun.AttrXORPeerAddress)
}
