package doctor

import (
	"net"
	"syscall"
)

// dontFragment has the kernel refuse what is longer than the way's MTU, as far as
// that is known, and mark all else as not to be fragmented.
func dontFragment(c net.Conn, six bool) {
	conn, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	level, option := syscall.IPPROTO_IP, syscall.IP_MTU_DISCOVER
	if six {
		level, option = syscall.IPPROTO_IPV6, syscall.IPV6_MTU_DISCOVER
	}
	raw.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), level, option, syscall.IP_PMTUDISC_DO)
	})
}
