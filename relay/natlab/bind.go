package natlab

import (
	"net/netip"
	"slices"
	"syscall"

	"switchboard/relay/natlab/nat"
)

// bindKey finds the sockets of a port.
type bindKey struct {
	proto nat.Proto
	port  uint16
}

// binding is a socket's hold on a port. One of udp, listener and conn is set.
type binding struct {
	key bindKey
	// addr is unspecified for all addresses of the families that are set.
	addr     netip.Addr
	families [2]bool

	udp      *udpConn
	listener *tcpListener
	conn     *tcpConn // that was dialled
}

// local is what the socket says that its address is.
func (b *binding) local() netip.AddrPort { return netip.AddrPortFrom(b.addr, b.key.port) }

func (b *binding) crash() {
	switch {
	case b.udp != nil:
		b.udp.shut()
	case b.listener != nil:
		b.listener.shut()
	}
}

// takes is whether packets to an address are for the socket.
func (b *binding) takes(dst netip.Addr) bool {
	if b.addr.IsUnspecified() {
		return b.families[family(dst)]
	}
	return b.addr == dst
}

func (b *binding) conflicts(o *binding) bool {
	switch {
	case b.addr.IsUnspecified() || o.addr.IsUnspecified():
		return b.families[0] && o.families[0] || b.families[1] && o.families[1]
	}
	return b.addr == o.addr
}

// boundTo is the socket that packets to dst are for. There is at most one: others would
// conflict.
func (h *Host) boundTo(p nat.Proto, dst netip.AddrPort) *binding {
	for _, b := range h.bound[bindKey{p, dst.Port()}] {
		if b.conn == nil && b.takes(dst.Addr()) {
			return b
		}
	}
	return nil
}

// The ports that are given to sockets that ask for none, as Linux has them.
const (
	ephemeralMin = 32768
	ephemeralMax = 60999
)

// bind takes a port for b, whose address and families are set. Port 0 is any. The error is
// a syscall.Errno.
func (h *Host) bind(b *binding, p nat.Proto, port uint16) error {
	switch {
	case h.down || h.w.closed:
		return syscall.ENETDOWN
	case !b.addr.IsUnspecified() && !h.owns(b.addr):
		return syscall.EADDRNOTAVAIL
	}
	b.key = bindKey{p, port}
	if port == 0 && !h.ephemeral(b) || port != 0 && h.taken(b) {
		return syscall.EADDRINUSE
	}
	h.bound[b.key] = append(h.bound[b.key], b)
	return nil
}

func (h *Host) taken(b *binding) bool {
	return slices.ContainsFunc(h.bound[b.key], b.conflicts)
}

// ephemeral gives b a port that is free, from one on that is chosen by lot.
func (h *Host) ephemeral(b *binding) bool {
	const n = ephemeralMax - ephemeralMin + 1
	first := h.rnd.IntN(n)
	for i := range n {
		b.key.port = uint16(ephemeralMin + (first+i)%n)
		if !h.taken(b) {
			return true
		}
	}
	return false
}

func (h *Host) unbind(b *binding) {
	rest := slices.DeleteFunc(h.bound[b.key], func(x *binding) bool { return x == b })
	if len(rest) == 0 {
		delete(h.bound, b.key)
		return
	}
	h.bound[b.key] = rest
}

// bindTo is a binding for an address, of the families that a network such as "udp4" means. An
// invalid address is all of them.
func bindTo(f families, addr netip.Addr) (*binding, error) {
	switch {
	case !addr.IsValid() && f[1]:
		addr = netip.IPv6Unspecified()
	case !addr.IsValid():
		addr = netip.IPv4Unspecified()
	}
	b := &binding{addr: addr}
	switch {
	case !addr.IsUnspecified():
		b.families[family(addr)] = true
	case addr.Is4():
		b.families[0] = true
	default:
		b.families = f // [::] of "udp" is for both, as Go makes it
	}
	if !f[family(addr)] {
		return nil, syscall.EAFNOSUPPORT
	}
	return b, nil
}

// families says which of IPv4 and IPv6 are meant.
type families [2]bool
