package relay

import "time"

// SetUnusedFor sets for how long allocations of a relay that drains may carry no media.
func SetUnusedFor(s *Server, d time.Duration) { s.unusedFor = d }
