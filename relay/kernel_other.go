//go:build !linux || 386

package relay

import "syscall"

// socketDrops is not known here.
func socketDrops(syscall.RawConn) (uint32, bool) { return 0, false }
