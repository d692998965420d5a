package kernel

import (
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ethtoolSetTxSums is ETHTOOL_STXCSUM of linux/ethtool.h.
const ethtoolSetTxSums = 0x17

// finishSums has all interfaces of the namespace finish checksums before they send, and cut
// what is longer than their MTU, as what is on a wire is. A veth does neither by itself: it
// hands on packets whose checksum is left for a network card to make, on the ground that
// nothing can be damaged between two sockets of one machine. Whatever works on packets as
// they come from a wire, such as a relay's data path in the kernel, has to leave those
// alone, and would go unseen in a lab.
func (s *space) finishSums() error {
	err := s.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		all, err := net.Interfaces()
		if err != nil {
			return err
		}
		var errs []error
		for _, i := range all {
			if i.Flags&net.FlagLoopback == 0 {
				errs = append(errs, finishSumsOf(fd, i.Name))
			}
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("checksums in %s: %w", s.name, err)
	}
	return nil
}

// finishSumsOf is finishSums for an interface. Those that never leave checksums to others,
// such as TUN devices, may know nothing of it.
func finishSumsOf(fd int, name string) error {
	value := struct{ command, on uint32 }{ethtoolSetTxSums, 0}
	request := struct {
		name  [unix.IFNAMSIZ]byte
		value unsafe.Pointer
		_     [16]byte
	}{value: unsafe.Pointer(&value)}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	if errno != 0 && errno != unix.EOPNOTSUPP {
		return fmt.Errorf("%s: %w", name, errno)
	}
	return nil
}
