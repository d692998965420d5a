package relay

import (
	"syscall"
	"time"
)

// SetUnusedFor sets for how long allocations of a relay that drains may carry no media.
func SetUnusedFor(s *Server, d time.Duration) { s.unusedFor = d }

// WatchDrops counts a socket's drops among those of s's listeners.
func WatchDrops(s *Server, c syscall.Conn) { s.metrics.kernel.watch(c) }
