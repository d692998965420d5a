//go:build !linux

package doctor

import "net"

// dontFragment does nothing here: packets may be fragmented on the way.
func dontFragment(net.Conn, bool) {}
