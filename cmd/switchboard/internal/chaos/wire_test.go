package chaos

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// network is what lies between phones and nodes: it can lose and repeat frames,
// and stop phones as a suspended program stops.
type network struct {
	// Guarded by mu.
	mu             sync.Mutex
	wires          map[*wire]struct{}
	still          chan struct{} // phones that connect are stopped until it is closed; nil if they are not
	lose, repeat   float64       // of a frame
	lost, repeated int
}

// wire is the connection of a phone.
type wire struct {
	net.Conn
	network *network
	closed  chan struct{}
	once    sync.Once
	buf     []byte
	in      frames // owned by the reader

	writing sync.Mutex
	out     frames // guarded by writing

	mu   sync.Mutex
	held chan struct{} // until it is closed nothing is read or written; nil if it is not held
}

func newNetwork() *network { return &network{wires: map[*wire]struct{}{}} }

func (n *network) wrap(c net.Conn) net.Conn {
	n.mu.Lock()
	defer n.mu.Unlock()
	w := &wire{Conn: c, network: n, closed: make(chan struct{}), buf: make([]byte, 16<<10), held: n.still}
	n.wires[w] = struct{}{}
	return w
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	w.network.mu.Lock()
	delete(w.network.wires, w)
	w.network.mu.Unlock()
	return w.Conn.Close()
}

// wait waits while the phone is stopped.
func (w *wire) wait() {
	w.mu.Lock()
	held := w.held
	w.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-w.closed:
	}
}

func (w *wire) Read(b []byte) (int, error) {
	for {
		w.wait()
		if n := copy(b, w.in.ready); n > 0 {
			w.in.ready = w.in.ready[n:]
			return n, nil
		}
		n, err := w.Conn.Read(w.buf)
		if err != nil {
			return 0, err
		}
		w.in.feed(w.buf[:n], w.network.fate)
	}
}

func (w *wire) Write(b []byte) (int, error) {
	w.wait()
	w.writing.Lock()
	defer w.writing.Unlock()
	w.out.feed(b, w.network.fate)
	ready := w.out.ready
	w.out.ready = nil
	if _, err := w.Conn.Write(ready); err != nil {
		return 0, err
	}
	return len(b), nil
}

// fate is how often a frame arrives.
func (n *network) fate() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch r := rand.Float64(); {
	case r < n.lose:
		n.lost++
		return 0
	case r < n.lose+n.repeat:
		n.repeated++
		return 2
	}
	return 1
}

// frames cuts one direction of a connection into frames (RFC 6455 §5.2).
type frames struct {
	shaken bool   // the handshake is over
	raw    []byte // of a frame that is not complete
	ready  []byte // to be passed on
}

func (f *frames) feed(b []byte, fate func() int) {
	f.raw = append(f.raw, b...)
	if !f.shaken {
		end := bytes.Index(f.raw, []byte("\r\n\r\n"))
		if end < 0 {
			return
		}
		f.ready, f.raw, f.shaken = append(f.ready, f.raw[:end+4]...), f.raw[end+4:], true
	}
	for n := frameLength(f.raw); n > 0 && n <= len(f.raw); n = frameLength(f.raw) {
		times := 1
		if f.raw[0] == 0x81 { // a text in one piece
			times = fate()
		}
		for range times {
			f.ready = append(f.ready, f.raw[:n]...)
		}
		f.raw = f.raw[n:]
	}
}

// frameLength is how many bytes the frame has that begins b, 0 if that is not
// known yet.
func frameLength(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	head, n := 2, int(b[1]&0x7f)
	switch n {
	case 126:
		if head = 4; len(b) >= head {
			n = int(binary.BigEndian.Uint16(b[2:]))
		}
	case 127:
		if head = 10; len(b) >= head {
			n = int(binary.BigEndian.Uint64(b[2:]))
		}
	}
	if len(b) < head {
		return 0
	}
	if b[1]&0x80 != 0 {
		head += 4 // the mask
	}
	return head + n
}

// lossy loses and repeats a part of the frames for a while, both ways, and breaks
// the connections then: what got lost last is noticed by nobody before.
func (n *network) lossy(part float64, d time.Duration) fault {
	return fault{name: fmt.Sprintf("%.0f %% of all frames lost and as many repeated for %v", 100*part, d), do: func(ctx context.Context) (time.Time, error) {
		n.set(part)
		pause(ctx, d)
		lost, repeated := n.set(0)
		n.cut()
		if lost == 0 || repeated == 0 {
			return time.Time{}, fmt.Errorf("%d frames were lost and %d repeated", lost, repeated)
		}
		return time.Now(), nil
	}}
}

// set begins to lose a part of the frames, and tells how many were lost and
// repeated so far.
func (n *network) set(part float64) (lost, repeated int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose, n.repeat = part, part
	lost, repeated = n.lost, n.repeated
	n.lost, n.repeated = 0, 0
	return lost, repeated
}

// all lists the wires that there are.
func (n *network) all() (all []*wire) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for w := range n.wires {
		all = append(all, w)
	}
	return all
}

func (n *network) cut() {
	for _, w := range n.all() {
		w.Conn.Close()
	}
}

// stopped has every third phone neither read nor write for a while, longer than
// nodes wait for a sign of life.
func (n *network) stopped(d time.Duration) fault {
	return fault{name: fmt.Sprintf("every third phone stopped for %v", d), do: func(ctx context.Context) (time.Time, error) {
		goOn := make(chan struct{})
		for i, w := range n.all() {
			if i%3 == 0 {
				w.hold(goOn)
			}
		}
		pause(ctx, d)
		close(goOn)
		return time.Now(), nil
	}}
}

func (w *wire) hold(until chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = until
}

// hold stops all phones, those that connect anew, too, until goOn is called.
func (n *network) hold() (goOn func()) {
	still := make(chan struct{})
	n.mu.Lock()
	n.still = still
	n.mu.Unlock()
	for _, w := range n.all() {
		w.hold(still)
	}
	return func() {
		n.mu.Lock()
		n.still = nil
		n.mu.Unlock()
		close(still)
	}
}

// The wire loses and repeats whole frames, whatever pieces they come in, and
// nothing else.
func TestWire(t *testing.T) {
	text := func(mask bool, n int, c byte) []byte {
		b := []byte{0x81, byte(n)}
		switch {
		case n > 0xffff:
			b = binary.BigEndian.AppendUint64([]byte{0x81, 127}, uint64(n))
		case n > 125:
			b = binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(n))
		}
		if mask {
			b[1] |= 0x80
			b = append(b, 1, 2, 3, 4)
		}
		return append(b, bytes.Repeat([]byte{c}, n)...)
	}
	for _, mask := range []bool{false, true} {
		var sent, want []byte
		sent = append(sent, "HTTP/1.1 101 Switching\r\nX: y\r\n\r\n"...)
		want = append(want, sent...)
		ping := []byte{0x89, 0x00}
		if mask {
			ping = []byte{0x89, 0x80, 1, 2, 3, 4}
		}
		times := []int{1, 0, 2, 1, 0, 2}
		for i, n := range []int{0, 125, 126, 65535, 65536, 7} {
			f := text(mask, n, byte('a'+i))
			sent = append(append(sent, f...), ping...)
			for range times[i] {
				want = append(want, f...)
			}
			want = append(want, ping...)
		}
		var f frames
		next := 0
		for r := bytes.NewReader(sent); ; {
			piece := make([]byte, 1+rand.IntN(5000))
			n, err := r.Read(piece)
			if err == io.EOF {
				break
			}
			f.feed(piece[:n], func() int { next++; return times[next-1] })
		}
		if !bytes.Equal(f.ready, want) || len(f.raw) != 0 || next != len(times) {
			t.Errorf("masked %v: %d bytes passed on, want %d; %d frames seen, %d bytes left", mask, len(f.ready), len(want), next, len(f.raw))
		}
	}
}
