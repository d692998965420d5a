//go:build linux && !386

package relay

import (
	"syscall"
	"unsafe"
)

// The numbers that SO_MEMINFO gives of a socket, and which of them counts the packets
// that were dropped (linux/sock_diag.h).
const (
	soMemInfo   = 55
	memInfos    = 9
	memInfoDrop = 8
)

// socketDrops returns how many packets the kernel dropped of those that a socket was
// sent. It is not known of a socket that is closed, nor by kernels before 4.12.
func socketDrops(c syscall.RawConn) (n uint32, ok bool) {
	var info [memInfos]uint32
	size := uint32(unsafe.Sizeof(info))
	var errno syscall.Errno
	err := c.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_GETSOCKOPT, fd, syscall.SOL_SOCKET, soMemInfo,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil || errno != 0 || size < uint32(unsafe.Sizeof(info)) {
		return 0, false
	}
	return info[memInfoDrop], true
}
