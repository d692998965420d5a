package kernel

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
)

// DialContext connects from a host's namespace to "host:port", where host may be a name of
// the lab. Its addresses are tried one after the other. Networks are those of UDP and TCP.
func (l *Lab) DialContext(ctx context.Context, host, network, address string) (net.Conn, error) {
	addrs, err := l.resolve(host, address)
	if err != nil {
		return nil, fmt.Errorf("dial from host %q: %w", host, err)
	}
	var conn net.Conn
	for _, a := range addrs {
		err = l.socket(host, func() (err error) {
			var d net.Dialer
			conn, err = d.DialContext(ctx, network, a.String())
			return err
		})
		if err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// ListenPacket opens a socket in a host's namespace, as [net.ListenPacket] does. The caller
// closes it.
func (l *Lab) ListenPacket(ctx context.Context, host, network, address string) (net.PacketConn, error) {
	var c net.PacketConn
	err := l.socket(host, func() (err error) {
		var config net.ListenConfig
		c, err = config.ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// Listen listens for connections in a host's namespace, as [net.Listen] does. The caller
// closes it.
func (l *Lab) Listen(ctx context.Context, host, network, address string) (net.Listener, error) {
	var c net.Listener
	err := l.socket(host, func() (err error) {
		var config net.ListenConfig
		c, err = config.Listen(ctx, network, address)
		return err
	})
	return c, err
}

// socket has a thread in a host's namespace call f, which opens a socket. Addresses that f
// uses must be numbers, or a resolver would ask from elsewhere.
func (l *Lab) socket(host string, f func() error) error {
	s, err := l.host(host)
	if err != nil {
		return err
	}
	return l.visit(s, f)
}

// visit is space.visit, unless the lab is closed.
func (l *Lab) visit(s *space, f func() error) error {
	if l.ended.Err() != nil {
		return errClosed
	}
	return s.Visit(f)
}

func (l *Lab) resolve(host, address string) ([]netip.AddrPort, error) {
	name, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q: %w", text, err)
	}
	addrs := []netip.Addr{}
	if a, err := netip.ParseAddr(name); err == nil {
		addrs = append(addrs, a)
	} else if addrs, err = l.Lookup(host, name); err != nil {
		return nil, err
	}
	all := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		all[i] = netip.AddrPortFrom(a, uint16(port))
	}
	return all, nil
}
