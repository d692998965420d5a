package relay_test

import (
	"runtime"
	"testing"
	"time"

	"switchboard/relay"
)

// BenchmarkAllocationMemory reports what an allocation over UDP takes of the
// process, in bytes of heap and stacks, the client's own half included: a raw
// socket. The kernel's memory for sockets is not in it.
func BenchmarkAllocationMemory(b *testing.B) {
	const n = 2000
	for b.Loop() {
		s := start(b, func(c *relay.Config) {
			c.Quotas.AllocationsPerSource, c.Quotas.AllocationsPerUser, c.Quotas.Allocations = n, 1000, n
			c.Limits.UnauthenticatedPerSecond = 100000
		})
		before := inUse()
		for i := range n {
			s.raw(b, "udp", mint(b, "call", string(rune('a'+i%26)), time.Now())).allocated(b)
		}
		b.ReportMetric(float64(inUse()-before)/n, "B/allocation")
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
