package relay

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
)

var errNoPort = errors.New("no relay port is free")

// ports hands out the ports of the relay sockets at one address, in an order that nobody can
// predict: who knows the port of somebody's next allocation can send to it, or
// be in its place (CVE-2025-69217). It may be used by several goroutines.
type ports struct {
	within PortRange

	taken []atomic.Uint64 // a bit for each port of the range; changed by who holds mu

	// Guarded by mu.
	mu   sync.Mutex
	free int
}

func newPorts(r PortRange) *ports {
	return &ports{within: r, taken: make([]atomic.Uint64, (r.size()+63)/64), free: r.size()}
}

// take returns a free port, or errNoPort.
func (p *ports) take() (uint16, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 {
		return 0, errNoPort
	}
	const tries = 16 // enough while one port of ten is free; then the next free one after a random one
	i := 0
	for range tries {
		if i = random(p.within.size()); !p.has(i) {
			break
		}
	}
	for p.has(i) {
		i = (i + 1) % p.within.size()
	}
	p.taken[i/64].Or(1 << (i % 64))
	p.free--
	return p.within.Min + uint16(i), nil
}

// release makes a port free that take returned.
func (p *ports) release(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := int(port - p.within.Min)
	p.taken[i/64].And(^uint64(1 << (i % 64)))
	p.free++
}

// left returns how many ports are free.
func (p *ports) left() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.free
}

// inUse reports whether port is taken. It waits for nobody: it is asked for each packet
// from one allocation to another.
func (p *ports) inUse(port uint16) bool {
	return p.within.contains(port) && p.has(int(port-p.within.Min))
}

func (p *ports) has(i int) bool { return p.taken[i/64].Load()&(1<<(i%64)) != 0 }

// random returns a random number below n, all equally likely.
func random(n int) int {
	limit := uint32(n) * uint32(1<<32/uint64(n)) // a multiple of n; 0 when n divides 2^32
	for {
		var b [4]byte
		rand.Read(b[:])
		if r := binary.NativeEndian.Uint32(b[:]); limit == 0 || r < limit {
			return int(r % uint32(n))
		}
	}
}
