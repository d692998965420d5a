package datagram

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// foreign is one by one through something that is no socket of this system.
const foreign How = 99

// every is each way in which a socket may work here, by its name.
func every(t *testing.T, test func(t *testing.T, how How, listen string)) {
	for _, how := range []How{Auto, OneByOne, foreign} {
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
	c.(*net.UDPConn).SetReadBuffer(4 << 20)
	if how == foreign {
		c = unspecific{c}
	}
	s, err := New(c, how)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// unspecific is a connection that is closed without saying that it is.
type unspecific struct{ net.PacketConn }

func (u unspecific) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := u.PacketConn.ReadFrom(b)
	if errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	return n, from, err
}

// reach is the address at which another socket of this machine reaches s.
func (s *Socket) reach() netip.AddrPort {
	a := s.LocalAddr().AddrPort()
	if a.Addr().IsUnspecified() {
		return netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), a.Port())
	}
	return a
}

// receive receives for a socket until handle returns true, and closes it.
func receive(t testing.TB, s *Socket, how How, gather time.Duration, handle func(*Batch) bool) {
	t.Helper()
	l, err := NewLoop(8, 1400, how, gather)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	stopped := false
	if err := l.Add(s, func(b *Batch) {
		if !stopped && handle(b) {
			stopped = true
			close(done)
		}
	}, func(err error) { t.Errorf("receive: %v", err) }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Error("not all came")
	}
	s.Close()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// What is sent arrives, whole and once, whatever its size and that of its neighbours.
func TestWhatIsSentArrives(t *testing.T) {
	every(t, func(t *testing.T, how How, listen string) {
		from, to, other := open(t, how, listen), open(t, how, listen), open(t, how, listen)
		const n, size = 40, 1400
		random := rand.New(rand.NewPCG(1, 2))
		var want [2][][]byte
		out := NewBatch(n, size)
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
			receive(t, s, how, 0, func(b *Batch) bool {
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
		for _, size := range []int{1400, 1401, 5000} {
			if err := from.Send(make([]byte, size), to.reach()); err != nil {
				t.Fatal(err)
			}
		}
		var whole []bool
		receive(t, to, how, 0, func(b *Batch) bool {
			for i := range b.Len() {
				whole = append(whole, b.Whole(i))
			}
			return len(whole) == 3
		})
		if len(whole) != 3 || !whole[0] || whole[1] || whole[2] {
			t.Errorf("of 1400, 1401 and 5000 bytes, with room for 1400: %v", whole)
		}
	})
}

// What the kernel does not take is counted, and what comes after it is sent.
func TestWhatCannotBeSentIsCounted(t *testing.T) {
	every(t, func(t *testing.T, how How, listen string) {
		from, to := open(t, how, listen), open(t, how, listen)
		b, at := NewBatch(8, 100), from.Address(to.reach())
		b.Out.Add([]byte("first"), at)
		b.Out.Add(make([]byte, 70000), at) // no datagram is so long
		b.Out.Add([]byte("last"), at)
		if lost := b.Out.Flush(from); lost != 1 {
			t.Errorf("%d lost, want 1", lost)
		}
		got := 0
		receive(t, to, how, 0, func(b *Batch) bool {
			got += b.Len()
			return got == 2
		})
	})
}

// A loop that lets datagrams gather loses none, and serves sockets that come and go.
func TestSocketsComeAndGo(t *testing.T) {
	for _, how := range []How{Auto, OneByOne, foreign} {
		const each = 20
		l, err := NewLoop(8, 1400, how, time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		from := open(t, how, "127.0.0.1:0")
		var all sync.WaitGroup
		for range 300 { // more than one chunk
			s := open(t, how, "127.0.0.1:0")
			got, done := 0, make(chan struct{})
			if err := l.Add(s, func(b *Batch) {
				if got += b.Len(); got == each {
					close(done)
				}
			}, func(err error) { t.Errorf("receive: %v", err) }); err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				for range each {
					if err := from.Send([]byte("hello"), s.reach()); err != nil {
						t.Error(err)
					}
				}
				select {
				case <-done:
				case <-time.After(10 * time.Second):
					t.Error("not all came")
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				s.Close() // does no harm
			})
		}
		all.Wait()
		b := NewBatch(8, 100)
		closed := open(t, how, "127.0.0.1:0")
		closed.Close()
		b.Out.Add([]byte("too late"), closed.Address(from.reach()))
		if lost := b.Out.Flush(closed); lost != 1 {
			t.Errorf("%d are lost, want 1", lost)
		}
		if err := closed.Send([]byte("too late"), from.reach()); !errors.Is(err, net.ErrClosed) {
			t.Errorf("through a closed socket: %v", err)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A connection that is not of UDP is no socket.
func TestNewRefuses(t *testing.T) {
	c, _ := net.Pipe()
	if s, err := New(stream{c}, OneByOne); err == nil {
		t.Errorf("%v", s)
	}
	if _, err := c.Write(nil); err == nil {
		t.Error("it is not closed")
	}
}

// stream is a connection that says that it is one of packets.
type stream struct{ net.Conn }

func (stream) ReadFrom([]byte) (int, net.Addr, error)    { return 0, nil, io.EOF }
func (stream) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }

// A socket says why it does not batch, and has nothing for who asks the system.
func TestForeignSocket(t *testing.T) {
	s := open(t, foreign, "127.0.0.1:0")
	if d := s.Describe(); d != "one by one, on a network that is not this machine's" {
		t.Errorf("%q", d)
	}
	if _, err := s.SyscallConn(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("SyscallConn: %v", err)
	}
}
