//go:build !brokenpermissions

package relay

import "net/netip"

// heedsPermissions is false in programs that are built with the tag brokenpermissions: then
// whoever knows where an allocation is sends to its client, permission or not. That is to
// show that tests, and the NAT lab, notice. Nothing else is ever built with it.
const heedsPermissions = true

// intrude does nothing.
func (*relayConn) intrude([]byte, netip.AddrPort) bool { return false }
