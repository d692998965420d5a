package natlab

import (
	"slices"

	"switchboard/relay/natlab/nat"
)

// receiving is the direction to this end.
type receiving struct {
	next     uint32 // expected
	promised int    // the window that the far end knows of
	data     [][]byte
	size     int       // bytes in data
	early    []segment // behind a gap, in their order
	fin      bool      // all was received
	finLast  bool      // after this end had sent its own FIN
}

func (r *receiving) room() int { return max(tcpBuffer-r.size, 0) }

// receiveData has what a segment brings.
func (c *tcpConn) receiveData(p *packet) {
	r := &c.in
	if p.length() == 0 || c.state == ended {
		if before(p.seq, r.next) && c.state == established {
			c.sendACK() // to a keep-alive
		}
		return
	}
	g := segment{p.seq, p.payload, p.flags&nat.FIN != 0}
	last := g.seq + p.length()
	switch {
	case c.closed && len(p.payload) > 0 && after(last, r.next):
		c.reset() // nobody will read it
		return
	case !after(last, r.next), r.fin, c.state == synReceived:
	case after(p.seq, r.next):
		r.keep(g)
	case r.size+int(last-r.next) > tcpBuffer+1:
		// A probe: there is no room for it.
	default:
		c.take(g)
		for len(r.early) > 0 && !after(r.early[0].seq, r.next) {
			g := r.early[0]
			r.early = r.early[1:]
			c.take(g)
		}
		c.changed.Broadcast()
	}
	c.sendACK()
	c.finished()
}

// keep holds a segment until what is before it has arrived. It has come within what was
// promised, or is lost.
func (r *receiving) keep(g segment) {
	if int(g.seq-r.next)+len(g.payload) > r.room() {
		return
	}
	i, found := slices.BinarySearchFunc(r.early, g.seq, func(x segment, seq uint32) int { return int(int32(x.seq - seq)) })
	if found && len(r.early[i].payload) >= len(g.payload) {
		return
	}
	r.early = slices.Insert(r.early, i, g)
}

// take adds a segment that begins no later than what is expected.
func (c *tcpConn) take(g segment) {
	r := &c.in
	if skip := int(r.next - g.seq); skip < len(g.payload) {
		data := g.payload[skip:]
		r.next += uint32(len(data))
		if !c.readClosed {
			r.data = append(r.data, data)
			r.size += len(data)
		}
	}
	if g.fin && r.next == g.seq+uint32(len(g.payload)) && !r.fin {
		r.next++
		r.fin, r.early = true, nil
		r.finLast = c.writeClosed && c.out.sent == len(c.out.queue)
	}
}

// read takes what is there.
func (r *receiving) read(b []byte) int {
	n := 0
	for n < len(b) && len(r.data) > 0 {
		m := copy(b[n:], r.data[0])
		n += m
		if r.data[0] = r.data[0][m:]; len(r.data[0]) == 0 {
			r.data[0] = nil
			r.data = r.data[1:]
		}
	}
	if r.size -= n; r.size == 0 {
		r.data = nil
	}
	return n
}

// opened is whether the far end should be told of room.
func (r *receiving) opened() bool {
	return r.room()-r.promised >= tcpBuffer/2 || r.promised < mss && r.room() >= 2*mss
}
