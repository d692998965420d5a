package kernel

import (
	"container/heap"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"switchboard/relay/natlab/link"
	"switchboard/relay/natlab/nat"
)

// maxUnderWay bounds the packets on one direction of a wire: what a sender without
// congestion control can make the lab keep. Those beyond are lost.
const maxUnderWay = 1 << 14

// wire is a cable whose packets are delayed and lost as a [link.Config] says. Its ends are TAP
// devices, gone when it is closed. Each direction has two goroutines.
type wire struct {
	near, far *os.File
	done      chan struct{}
	running   sync.WaitGroup
}

// newWire makes the devices, each in its namespace.
func newWire(near *space, nearName string, far *space, farName string) (*wire, error) {
	w := &wire{done: make(chan struct{})}
	for _, end := range []struct {
		space *space
		name  string
		file  **os.File
	}{{near, nearName, &w.near}, {far, farName, &w.far}} {
		if err := end.space.Do(func() (err error) {
			*end.file, err = openTUN(end.name, unix.IFF_TAP)
			return err
		}); err != nil {
			w.close()
			return nil, err
		}
	}
	return w, nil
}

// start has it carry packets: up are those from its near end.
func (w *wire) start(c link.Config, up, down *rand.Rand) {
	w.carry(w.near, w.far, link.New(c, up))
	w.carry(w.far, w.near, link.New(c, down))
}

func (w *wire) carry(from, to *os.File, line *link.Line) {
	// The reader never waits for the writer, since only the line's law may delay.
	sent := make(chan frame, maxUnderWay)
	w.running.Go(func() { w.read(from, to, line, sent) })
	w.running.Go(func() { w.deliver(to, sent) })
}

// close takes the devices away and waits for the goroutines.
func (w *wire) close() {
	close(w.done)
	for _, f := range []*os.File{w.near, w.far} {
		if f != nil {
			f.Close()
		}
	}
	w.running.Wait()
}

// frame is one on its way.
type frame struct {
	at time.Time // when it arrives
	b  []byte
}

func (w *wire) read(from, to *os.File, line *link.Line, sent chan<- frame) {
	b := make([]byte, 1<<16)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		now := time.Now()
		if findsNeighbours(b[:n]) {
			to.Write(b[:n])
			continue
		}
		at, v := line.Pass(now, n-ethernetHeader)
		switch {
		case v != link.Delivered:
		case !at.After(now) && len(sent) == 0:
			to.Write(b[:n])
		default:
			select {
			case sent <- frame{at, append([]byte(nil), b[:n]...)}:
			default:
			}
		}
	}
}

// deliver writes what arrives, each at its time.
func (w *wire) deliver(to *os.File, sent <-chan frame) {
	var on arrivals
	var n uint64
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if len(on) > 0 {
			timer.Reset(time.Until(on[0].at))
		}
		select {
		case <-w.done:
			return
		case f := <-sent:
			if len(on) < maxUnderWay {
				heap.Push(&on, arrival{f, n})
				n++
			}
		case <-timer.C:
			for now := time.Now(); len(on) > 0 && !on[0].at.After(now); {
				to.Write(heap.Pop(&on).(arrival).b)
			}
		}
	}
}

const ethernetHeader = 14

// findsNeighbours is whether a frame is one of ARP, or of IPv6's neighbour discovery. A link's
// law is for packets: those that are lost here would cost a second and more.
func findsNeighbours(b []byte) bool {
	if len(b) < ethernetHeader {
		return false
	}
	switch binary.BigEndian.Uint16(b[12:]) {
	case unix.ETH_P_ARP:
		return true
	case unix.ETH_P_IPV6:
		const solicitation, advertisement = 135, 136
		p := b[ethernetHeader:]
		return len(p) > header6 && nat.Proto(p[6]) == icmp6 && (p[header6] == solicitation || p[header6] == advertisement)
	}
	return false
}

// arrivals is a heap of frames, those that arrive first at the front, in the order of
// their sending where that is at the same time.
type arrivals []arrival

type arrival struct {
	frame
	n uint64
}

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].n < a[j].n
	}
	return a[i].at.Before(a[j].at)
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(arrival)) }
func (a *arrivals) Pop() any {
	old := *a
	x := old[len(old)-1]
	*a = old[:len(old)-1]
	return x
}
