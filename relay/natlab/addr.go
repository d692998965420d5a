package natlab

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
)

// parseNetwork takes apart names such as "udp4".
func parseNetwork(network string) (proto string, f families, err error) {
	switch network {
	case "udp", "tcp", "ip":
		return network, families{true, true}, nil
	case "udp4", "tcp4", "ip4":
		return network[:len(network)-1], families{true, false}, nil
	case "udp6", "tcp6", "ip6":
		return network[:len(network)-1], families{false, true}, nil
	}
	return "", f, net.UnknownNetworkError(network)
}

// splitPort takes apart "host:port"; the port is a number.
func splitPort(address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	if service == "" {
		return host, 0, nil
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, &net.AddrError{Err: "port is not a number", Addr: address}
	}
	return host, uint16(n), nil
}

// endpointOf is the address of a net.Addr of UDP or TCP, with an invalid Addr for none.
func endpointOf(a net.Addr) (netip.AddrPort, bool) {
	var e netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		e = a.AddrPort()
	case *net.TCPAddr:
		e = a.AddrPort()
	default:
		return e, false
	}
	return unmapped(e), true
}

func unmapped(e netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(e.Addr().Unmap().WithZone(""), e.Port())
}

func udpAddr(e netip.AddrPort) net.Addr {
	if !e.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(e)
}

func tcpAddr(e netip.AddrPort) net.Addr {
	if !e.IsValid() {
		return nil
	}
	return net.TCPAddrFromAddrPort(e)
}

// opError is as the package net wraps them. Errors of system calls get its name.
func opError(op, network string, source, addr net.Addr, err error) error {
	if errno, ok := err.(syscall.Errno); ok {
		call := op
		if c, ok := map[string]string{"listen": "bind", "dial": "connect"}[op]; ok {
			call = c
		}
		err = os.NewSyscallError(call, errno)
	}
	return &net.OpError{Op: op, Net: network, Source: source, Addr: addr, Err: err}
}
