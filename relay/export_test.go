package relay

import (
	"syscall"
	"time"
)

// SetUnusedFor sets for how long allocations of a relay that drains may carry no media.
func SetUnusedFor(s *Server, d time.Duration) { s.unusedFor = d }

// WatchDrops counts a socket's drops among those of s's listeners.
func WatchDrops(s *Server, c syscall.Conn) { s.metrics.kernel.watch(c) }

// SetLifetimes sets for how long allocations, permissions and channels of a relay that
// does not serve yet last when nobody refreshes them.
func SetLifetimes(s *Server, allocation, permission, channel time.Duration) {
	s.lifetimes = lifetimes{allocation: allocation, permission: permission, channel: channel}
}

// What the policy denies, and how an IPv4 address can be written in IPv6, for tests that
// ask a relay.
var (
	DeniedIPv4 = deniedIPv4
	DeniedIPv6 = deniedIPv6
	Embeddings = embeddings
	Ends       = ends
)
