package relay

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// canShare says that the kernel spreads clients over sockets on one port.
const canShare = true

// share lets a socket share its port with others of this user (SO_REUSEPORT).
func share(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}); err != nil {
		return err
	}
	return failed
}
