package datagram

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"
)

// every is each way in which a socket may work here, by its name.
func every(t *testing.T, test func(t *testing.T, how How, listen string)) {
	for _, how := range []How{Auto, OneByOne} {
		for _, listen := range []string{"127.0.0.1:0", "[::1]:0", "[::]:0"} {
			t.Run(fmt.Sprintf("%d %s", how, listen), func(t *testing.T) { test(t, how, listen) })
		}
	}
}

func open(t testing.TB, how How, listen string) *Socket {
	t.Helper()
	c, err := net.ListenPacket("udp", listen)
	if err != nil {
		t.Skipf("no socket on %s: %v", listen, err)
	}
	t.Cleanup(func() { c.Close() })
	c.(*net.UDPConn).SetReadBuffer(4 << 20)
	s, err := New(c.(*net.UDPConn), how)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reach is the address at which another socket of this machine reaches s.
func (s *Socket) reach() netip.AddrPort {
	a := s.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port())
	}
	return a
}

// What is sent arrives, whole and once, whatever its size and that of its neighbours.
func TestWhatIsSentArrives(t *testing.T) {
	every(t, func(t *testing.T, how How, listen string) {
		from, to, other := open(t, how, listen), open(t, how, listen), open(t, how, listen)
		const n, size = 40, 1400
		random := rand.New(rand.NewPCG(1, 2))
		var want [2][][]byte
		out := NewPool(n, size).Get()
		at := [2]*Address{from.Address(to.reach()), from.Address(other.reach())}
		for i := range n {
			b := make([]byte, []int{0, 1, 172, 1200, 1200, 1200, size - headerSize}[random.IntN(7)])
			for j := range b {
				b[j] = byte(random.Uint32())
			}
			which := i / 7 % 2
			if random.IntN(4) > 0 {
				want[which] = append(want[which], b)
				out.Out.Add(b, at[which])
			} else {
				want[which] = append(want[which], append([]byte{0x40, 1, byte(len(b) >> 8), byte(len(b))}, b...))
				out.Out.AddFramed(0x4001, uint16(len(b)), b, at[which])
			}
		}
		if lost := out.Out.Flush(from); lost != 0 {
			t.Fatalf("%d lost", lost)
		}
		for which, s := range []*Socket{to, other} {
			var got [][]byte
			pool := NewPool(8, size)
			s.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			err := s.Receive(pool, func(b *Batch) bool {
				for i := range b.Len() {
					if !b.Whole(i) {
						t.Errorf("datagram %d is not whole", len(got))
					}
					if b.From(i).Port() != from.reach().Port() || b.From(i).Addr() != from.reach().Addr() {
						t.Errorf("from %v, want %v", b.From(i), from.reach())
					}
					got = append(got, bytes.Clone(b.Data(i)))
				}
				return len(got) >= len(want[which])
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want[which]) {
				t.Fatalf("%d datagrams, want %d", len(got), len(want[which]))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[which][i]) {
					t.Errorf("datagram %d differs: %d bytes, want %d", i, len(got[i]), len(want[which][i]))
				}
			}
		}
	})
}

func TestLongDatagramIsNotWhole(t *testing.T) {
	every(t, func(t *testing.T, how How, listen string) {
		from, to := open(t, how, listen), open(t, how, listen)
		for _, size := range []int{100, 101, 5000} {
			if _, err := from.conn.WriteToUDPAddrPort(make([]byte, size), to.reach()); err != nil {
				t.Fatal(err)
			}
		}
		var whole []bool
		to.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := to.Receive(NewPool(8, 100), func(b *Batch) bool {
			for i := range b.Len() {
				whole = append(whole, b.Whole(i))
			}
			return len(whole) == 3
		}); err != nil {
			t.Fatal(err)
		}
		if !whole[0] || whole[1] || whole[2] {
			t.Errorf("of 100, 101 and 5000 bytes, with room for 100: %v", whole)
		}
	})
}

// What the kernel does not take is counted, and what comes after it is sent.
func TestWhatCannotBeSentIsCounted(t *testing.T) {
	every(t, func(t *testing.T, how How, listen string) {
		from, to := open(t, how, listen), open(t, how, listen)
		b, at := NewPool(8, 100).Get(), from.Address(to.reach())
		b.Out.Add([]byte("first"), at)
		b.Out.Add(make([]byte, 70000), at) // no datagram is so long
		b.Out.Add([]byte("last"), at)
		if lost := b.Out.Flush(from); lost != 1 {
			t.Errorf("%d lost, want 1", lost)
		}
		got := 0
		to.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if err := to.Receive(NewPool(8, 100), func(b *Batch) bool {
			got += b.Len()
			return got == 2
		}); err != nil {
			t.Errorf("%d of 2 arrived: %v", got, err)
		}
	})
}

func TestClosedWhileItWaits(t *testing.T) {
	every(t, func(t *testing.T, how How, listen string) {
		s, other := open(t, how, listen), open(t, how, listen)
		ended := make(chan error, 1)
		go func() { ended <- s.Receive(NewPool(8, 100), func(*Batch) bool { return false }) }()
		time.AfterFunc(10*time.Millisecond, func() { s.conn.Close() })
		select {
		case err := <-ended:
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("ended with %v", err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("waits on")
		}
		b := NewPool(8, 100).Get()
		b.Out.Add([]byte("too late"), s.Address(other.reach()))
		b.Out.Flush(s) // does no harm
	})
}
