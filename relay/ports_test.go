package relay

import (
	"slices"
	"testing"
)

func TestPortsAreAllHandedOutOnce(t *testing.T) {
	r := PortRange{Min: 50000, Max: 50099}
	p := newPorts(r)
	seen := make(map[uint16]bool)
	inOrder := 0
	last := uint16(0)
	for range r.size() {
		port, err := p.take()
		if err != nil || !r.contains(port) || seen[port] || !p.inUse(port) {
			t.Fatalf("take: %d, %v, seen %v", port, err, seen[port])
		}
		if port == last+1 {
			inOrder++
		}
		seen[port], last = true, port
	}
	if inOrder > 60 {
		t.Errorf("%d of 100 ports follow the one before", inOrder)
	}
	if _, err := p.take(); err != errNoPort {
		t.Errorf("take of none: %v", err)
	}
	p.release(50042)
	if port, err := p.take(); port != 50042 || err != nil {
		t.Errorf("take of the last: %d, %v", port, err)
	}
	if p.inUse(49999) || p.inUse(50100) {
		t.Error("ports outside of the range are in use")
	}
}

func TestRandomIsEven(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 16384} {
		counts := make([]int, n)
		for range 20 * n {
			counts[random(n)]++
		}
		if most := slices.Max(counts); most > 60 {
			t.Errorf("of %d, one came %d times, where 20 are expected", n, most)
		}
	}
}
