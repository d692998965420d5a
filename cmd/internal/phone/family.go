package phone

import "net"

// relayFamily is the local address of a socket to a relay, as it is told to the TURN
// client, which asks the relay for an address of its family (RFC 8656 section 7.1). A phone
// with IPv6 alone needs relays most for who has IPv4 alone: it reaches everybody else
// without. Such a phone therefore tells an address of IPv4, with the port that there is.
func (n *network) relayFamily(local net.Addr) net.Addr {
	n.mu.Lock()
	sixOnly := n.sixOnly
	n.mu.Unlock()
	if !sixOnly {
		return local
	}
	switch a := local.(type) {
	case *net.UDPAddr:
		return &net.UDPAddr{IP: net.IPv4zero, Port: a.Port}
	case *net.TCPAddr:
		return &net.TCPAddr{IP: net.IPv4zero, Port: a.Port}
	}
	return local
}

// hasSixOnly reports whether the phone has a global address, and none of IPv4.
func (n *network) hasSixOnly() (six bool) {
	all, err := n.Interfaces()
	if err != nil {
		return false
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			at, ok := a.(*net.IPNet)
			if !ok || !at.IP.IsGlobalUnicast() {
				continue
			}
			if at.IP.To4() != nil {
				return false
			}
			six = true
		}
	}
	return six
}
