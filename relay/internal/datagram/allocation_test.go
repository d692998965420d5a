//go:build !race

package datagram

import "testing"

// Nothing is allocated for a packet.
func TestNoAllocationForAPacket(t *testing.T) {
	s := open(t, Auto, "127.0.0.1:0")
	l, err := NewLoop(16, 1400, Auto, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan int, 100)
	if err := l.Add(s, func(b *Batch) { got <- b.Len() }, func(error) {}); err != nil {
		t.Fatal(err)
	}
	b, to, data := NewBatch(16, 1400), s.Address(s.reach()), make([]byte, 172)
	per := testing.AllocsPerRun(100, func() {
		for range 8 {
			b.Out.AddFramed(1, 2, data, to)
		}
		if lost := b.Out.Flush(s); lost != 0 {
			t.Fatalf("%d lost", lost)
		}
		for n := 0; n < 8; n += <-got {
		}
	})
	if per > 1 { // the pool's own, now and then
		t.Errorf("%v allocations for 8 packets", per)
	}
	s.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
