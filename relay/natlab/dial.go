package natlab

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"time"

	"switchboard/relay/natlab/nat"
)

// fallbackAfter is when the second family is tried beside the first, unless that has
// failed before (RFC 8305 section 5, as in the package net).
const fallbackAfter = 300 * time.Millisecond

// Listen announces on the address, "host:port", of the network "tcp", "tcp4" or "tcp6". No
// host is all addresses; no port, or 0, is a free one.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	l, err := h.listenOn(network, address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (h *Host) listenOn(network, address string) (*tcpListener, error) {
	f, local, err := h.parse("tcp", network, address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	b, err := bindTo(f, local.Addr())
	if err != nil {
		return nil, opError("listen", network, nil, tcpAddr(local), err)
	}
	h.w.lock()
	defer h.w.unlock()
	l, err := h.listenTCP(network, b, local.Port())
	if err != nil {
		return nil, opError("listen", network, nil, tcpAddr(b.local()), err)
	}
	return l, nil
}

// ListenPacket is Listen for the networks "udp", "udp4" and "udp6".
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	f, local, err := h.parse("udp", network, address)
	if err != nil {
		return nil, opError("listen", network, nil, nil, err)
	}
	c, err := h.listenPacketOn("listen", network, f, local, netip.AddrPort{})
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (h *Host) listenPacketOn(op, network string, f families, local, remote netip.AddrPort) (*udpConn, error) {
	b, err := bindTo(f, local.Addr())
	if err != nil {
		return nil, opError(op, network, nil, udpAddr(local), err)
	}
	h.w.lock()
	defer h.w.unlock()
	c, err := h.listenUDP(network, b, local.Port(), remote)
	if err != nil {
		return nil, opError(op, network, nil, udpAddr(b.local()), err)
	}
	return c, nil
}

// parse takes apart the address of a socket; its Addr is invalid for all of them.
func (h *Host) parse(proto, network, address string) (families, netip.AddrPort, error) {
	p, f, err := parseNetwork(network)
	if err != nil {
		return f, netip.AddrPort{}, err
	}
	if p != proto {
		return f, netip.AddrPort{}, net.UnknownNetworkError(network)
	}
	host, port, err := splitPort(address)
	if err != nil || host == "" {
		return f, netip.AddrPortFrom(netip.Addr{}, port), err
	}
	addrs, err := h.lookup(host, f)
	if err != nil {
		return f, netip.AddrPort{}, err
	}
	return f, netip.AddrPortFrom(addrs[0], port), nil
}

// DialContext connects to "host:port" over "tcp" or "udp", each with 4 or 6 appended or not,
// as net.Dialer does: over TCP it tries all addresses, and both families beside each
// other. Whatever ctx says, it gives up after 30 s.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return h.dial(ctx, network, netip.AddrPort{}, address)
}

// dial is DialContext from a local address, if that is valid.
func (h *Host) dial(ctx context.Context, network string, local netip.AddrPort, address string) (net.Conn, error) {
	p, f, err := parseNetwork(network)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	host, port, err := splitPort(address)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	if host == "" {
		host = "localhost"
	}
	addrs, err := h.lookup(host, f)
	if err != nil {
		return nil, opError("dial", network, nil, nil, err)
	}
	if p == "udp" {
		return h.dialFirst(network, f, local, addrs, port)
	}
	return h.dialAll(ctx, network, local, addrs, port)
}

// dialFirst connects a UDP socket to the first address that there is a way to.
func (h *Host) dialFirst(network string, f families, local netip.AddrPort, addrs []netip.Addr, port uint16) (*udpConn, error) {
	var first error
	for _, a := range addrs {
		c, err := h.dialUDP(network, f, local, netip.AddrPortFrom(a, port))
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

func (h *Host) dialUDP(network string, f families, local, remote netip.AddrPort) (*udpConn, error) {
	if !local.Addr().IsValid() || local.Addr().IsUnspecified() {
		h.w.lock()
		src := h.source(remote.Addr())
		h.w.unlock()
		if !src.IsValid() {
			return nil, opError("dial", network, nil, udpAddr(remote), syscall.ENETUNREACH)
		}
		local = netip.AddrPortFrom(src, local.Port())
	}
	return h.listenPacketOn("dial", network, f, local, remote)
}

// dialAll connects to one of the addresses: those of the first one's family one after the
// other, the rest beside them.
func (h *Host) dialAll(ctx context.Context, network string, local netip.AddrPort, addrs []netip.Addr, port uint16) (*tcpConn, error) {
	var parts [2][]netip.Addr
	for _, a := range addrs {
		part := 0
		if family(a) != family(addrs[0]) {
			part = 1
		}
		parts[part] = append(parts[part], a)
	}
	if parts[1] == nil {
		return h.dialEach(ctx, network, local, parts[0], port)
	}
	return h.race(ctx, func(ctx context.Context, part int) (*tcpConn, error) {
		return h.dialEach(ctx, network, local, parts[part], port)
	})
}

// race has the second attempt join the first one when that takes long or fails, and returns
// the first success, else the first one's error. Nothing is left running.
func (h *Host) race(ctx context.Context, dial func(ctx context.Context, part int) (*tcpConn, error)) (*tcpConn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		part int
		c    *tcpConn
		err  error
	}
	results := make(chan result, 2)
	start := func(part int) {
		go func() {
			c, err := dial(ctx, part)
			results <- result{part, c, err}
		}()
	}
	start(0)
	fallback := time.NewTimer(fallbackAfter)
	defer fallback.Stop()
	var won *tcpConn
	var errs [2]error
	for started, done := 1, 0; done < started; {
		select {
		case <-fallback.C:
			start(1)
			started = 2
		case r := <-results:
			done++
			errs[r.part] = r.err
			switch {
			case r.err == nil && won == nil:
				won = r.c
				cancel()
			case r.err == nil:
				r.c.Close()
			case won == nil && started == 1 && ctx.Err() == nil:
				fallback.Stop()
				start(1)
				started = 2
			}
		}
		if won != nil && done == started {
			break
		}
		if won != nil {
			fallback.Stop()
		}
	}
	if won != nil {
		return won, nil
	}
	return nil, errs[0]
}

// dialEach connects to the first address that answers.
func (h *Host) dialEach(ctx context.Context, network string, local netip.AddrPort, addrs []netip.Addr, port uint16) (*tcpConn, error) {
	var first error
	for _, a := range addrs {
		c, err := h.dialTCP(ctx, network, local, netip.AddrPortFrom(a, port))
		if err == nil {
			return c, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// dialTCP connects to one endpoint.
func (h *Host) dialTCP(ctx context.Context, network string, local, remote netip.AddrPort) (*tcpConn, error) {
	if a := remote.Addr(); a.IsUnspecified() {
		remote = netip.AddrPortFrom(loopback[family(a)], remote.Port())
	}
	h.w.lock()
	c, err := h.connect(network, local, remote)
	h.w.unlock()
	if err == nil {
		err = c.awaitConnect(ctx)
	}
	if err != nil {
		return nil, opError("dial", network, tcpAddr(local), tcpAddr(remote), err)
	}
	return c, nil
}

// connect sends the SYN.
func (h *Host) connect(network string, local, remote netip.AddrPort) (*tcpConn, error) {
	src := local.Addr()
	if !src.IsValid() || src.IsUnspecified() {
		src = h.source(remote.Addr())
	}
	switch {
	case h.down || h.w.closed:
		return nil, syscall.ENETDOWN
	case !src.IsValid(), !h.owns(remote.Addr()) && h.route(remote.Addr()) == nil:
		return nil, syscall.ENETUNREACH
	case family(src) != family(remote.Addr()):
		return nil, syscall.EAFNOSUPPORT
	case src.IsLoopback() && !h.owns(remote.Addr()):
		return nil, syscall.EINVAL
	}
	b := &binding{addr: src}
	b.families[family(src)] = true
	if err := h.bind(b, nat.TCP, local.Port()); err != nil {
		return nil, err
	}
	c := h.newConn(network, connKey{b.local(), remote}, synSent)
	b.conn, c.b = c, b
	c.sendSYN()
	return c, nil
}

// awaitConnect waits for the handshake's end.
func (c *tcpConn) awaitConnect(ctx context.Context) error {
	w := c.h.w
	stop := context.AfterFunc(ctx, func() {
		w.lock()
		defer w.unlock()
		c.changed.Broadcast()
	})
	defer stop()
	w.lock()
	defer w.unlock()
	for {
		switch {
		case c.state == ended:
			return c.ended()
		case c.state == established:
			return nil
		case ctx.Err() != nil:
			c.crash()
			return ctx.Err()
		}
		w.wait(c.changed)
	}
}
