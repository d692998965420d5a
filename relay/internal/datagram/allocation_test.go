//go:build !race

package datagram

import "testing"

// Nothing is allocated for a packet.
func TestNoAllocationForAPacket(t *testing.T) {
	s := open(t, Auto, "127.0.0.1:0")
	pool := NewPool(16, 1200)
	to := s.Address(s.reach())
	data := make([]byte, 172)
	got, last := 0, (*Batch)(nil)
	handle := func(b *Batch) bool { got, last = got+b.Len(), b; return got >= 8 }
	b := pool.Get()
	per := testing.AllocsPerRun(100, func() {
		got = 0
		for range 8 {
			b.Out.Add(data, to)
		}
		b.Out.Flush(s)
		s.Receive(pool, handle)
		pool.Put(last)
	})
	if per > 1 { // the pool's own, now and then
		t.Errorf("%v allocations for 8 packets", per)
	}
}
