package natlab

import (
	"net/netip"
	"sync"
	"syscall"
	"time"

	"switchboard/relay/natlab/nat"
)

// What TCP connections are bounded by. Times are shorter than on the internet where only
// patience is at stake.
const (
	mss           = 1400
	tcpBuffer     = 256 << 10 // bytes that wait, for each direction and side
	firstWindow   = 10 * mss  // RFC 6928
	firstTimeout  = time.Second
	minTimeout    = 200 * time.Millisecond
	maxTimeout    = 5 * time.Second
	connectFor    = 30 * time.Second // and a listener waits as long for the last step
	giveUpAfter   = 2 * time.Minute  // without any progress
	keepAlive     = 15 * time.Second // as Go has it, and
	keepAlives    = 9                // without an answer are the end
	orphanFor     = time.Minute      // for the far end to close, too
	timeWait      = time.Minute      // RFC 9293 section 3.4.2, shortened as in Linux
	listenBacklog = 128
)

type connKey struct{ local, remote netip.AddrPort }

type tcpState uint8

const (
	synSent tcpState = iota
	synReceived
	established // until both sides have sent their FIN and had it acknowledged
	timeWaiting
	ended
)

// tcpConn is one end of a connection (RFC 9293), with acknowledgements of each segment,
// Reno's congestion control (RFC 5681, 6582) and RFC 6298's timer. All is guarded by the
// world's mu.
type tcpConn struct {
	h        *Host
	network  string
	key      connKey
	b        *binding     // of one that was dialled
	listener *tcpListener // of one that is not accepted yet
	state    tcpState
	err      error         // why it ended early
	since    time.Time     // of the last progress, or when it began
	heard    time.Time     // when the last segment came
	probes   int           // keep-alives since
	idle     time.Duration // before a keep-alive; 0 for none
	keeping  bool          // the alarm is for a keep-alive
	alarm    alarm
	changed  *sync.Cond // for readers, writers and whoever dials
	readBy   *deadline
	writeBy  *deadline

	out sending
	in  receiving

	closed      bool // by Close
	readClosed  bool
	writeClosed bool // a FIN is queued
	noLinger    bool // Close resets
}

// newConn is one that has sent and received nothing yet.
func (h *Host) newConn(network string, key connKey, s tcpState) *tcpConn {
	c := &tcpConn{h: h, network: network, key: key, state: s, since: h.w.now, heard: h.w.now, idle: keepAlive, changed: sync.NewCond(&h.w.mu)}
	c.alarm = alarm{w: h.w, ring: c.onAlarm}
	c.readBy = newDeadline(h.w, c.changed.Broadcast)
	c.writeBy = newDeadline(h.w, c.changed.Broadcast)
	c.out = newSending(h.rnd.Uint32())
	h.conns[key] = c
	return c
}

// receiveTCP has a packet that arrived for the host's TCP.
func (h *Host) receiveTCP(p *packet) {
	if c := h.conns[connKey{p.dst, p.src}]; c != nil && !c.makesRoom(p) {
		h.w.received(h.name, p)
		c.receive(p)
		return
	}
	if b := h.boundTo(nat.TCP, p.dst); b != nil && b.listener != nil && p.flags&(nat.SYN|nat.ACK|nat.RST) == nat.SYN {
		b.listener.receive(p)
		return
	}
	h.w.drop(h.name, p, NoSocket)
	if p.flags&nat.RST == 0 {
		h.refuse(p)
	}
}

// makesRoom is whether p begins a new connection in the place of one that only waits for
// stragglers (RFC 6191).
func (c *tcpConn) makesRoom(p *packet) bool {
	if c.state != timeWaiting || p.flags&(nat.SYN|nat.ACK) != nat.SYN {
		return false
	}
	c.end(nil)
	return true
}

// refuse resets what is no connection here (RFC 9293 section 3.10.7.1).
func (h *Host) refuse(p *packet) {
	r := &packet{proto: nat.TCP, src: p.dst, dst: p.src}
	if p.flags&nat.ACK != 0 {
		r.flags, r.seq = nat.RST, p.ack
	} else {
		r.flags, r.ack = nat.RST|nat.ACK, p.seq+p.length()
	}
	h.send(r)
}

// length is how much of the sequence space a segment takes.
func (p *packet) length() uint32 {
	n := uint32(len(p.payload))
	if p.flags&nat.SYN != 0 {
		n++
	}
	if p.flags&nat.FIN != 0 {
		n++
	}
	return n
}

// before and after compare sequence numbers, which wrap.
func before(a, b uint32) bool { return int32(a-b) < 0 }
func after(a, b uint32) bool  { return int32(a-b) > 0 }

// sendSegment sends one from the sequence number on, with what is to be said of the other
// direction. Where the host has no way or no such address any more, it is lost.
func (c *tcpConn) sendSegment(seq uint32, f nat.Flags, payload []byte) {
	p := &packet{proto: nat.TCP, src: c.key.local, dst: c.key.remote, flags: f, seq: seq, payload: payload}
	if f&nat.ACK != 0 {
		p.ack = c.in.next
	}
	c.in.promised = c.in.room()
	p.window = uint32(c.in.promised)
	if c.h.owns(p.src.Addr()) {
		c.h.send(p)
	}
}

func (c *tcpConn) sendACK() { c.sendSegment(c.out.highest, nat.ACK, nil) }

func (c *tcpConn) sendSYN() {
	f := nat.SYN
	if c.state == synReceived {
		f |= nat.ACK
	}
	c.sendSegment(c.out.first, f, nil)
	c.alarm.set(c.h.w.now.Add(c.out.timeout))
}

// receive has a segment of the connection (RFC 9293 section 3.10.7).
func (c *tcpConn) receive(p *packet) {
	c.heard, c.probes = c.h.w.now, 0
	switch {
	case c.state == synSent:
		c.receiveInSynSent(p)
	case p.flags&nat.RST != 0:
		// RFC 5961 section 3.2, without its challenge.
		if d := p.seq - c.in.next; d <= tcpBuffer {
			c.end(syscall.ECONNRESET)
		}
	case p.flags&nat.SYN != 0:
		c.receiveSYN(p)
	case p.flags&nat.ACK != 0:
		c.receiveACK(p)
		if c.state != ended {
			c.receiveData(p)
		}
	}
}

func (c *tcpConn) receiveInSynSent(p *packet) {
	acks := p.flags&nat.ACK != 0
	switch {
	case acks && p.ack != c.out.next:
		if p.flags&nat.RST == 0 {
			c.sendSegment(p.ack, nat.RST, nil)
		}
	case p.flags&nat.RST != 0:
		if acks {
			c.end(syscall.ECONNREFUSED)
		}
	case p.flags&nat.SYN == 0:
	case acks:
		c.in.next = p.seq + 1
		c.establish(p)
		c.sendACK()
	default: // both sides at once
		c.in.next = p.seq + 1
		c.state = synReceived
		c.sendSYN()
	}
}

// receiveSYN has one for a connection that exists: it is a straggler, or the far end has
// forgotten the connection and finds out by the answer (RFC 5961 section 4).
func (c *tcpConn) receiveSYN(p *packet) {
	if c.state != synReceived || p.seq+1 != c.in.next {
		c.sendACK()
		return
	}
	if p.flags&nat.ACK != 0 && p.ack == c.out.next {
		c.establish(p)
		c.sendACK()
		return
	}
	c.sendSYN()
}

// establish has the handshake done, as far as this end knows.
func (c *tcpConn) establish(p *packet) {
	c.state, c.since = established, c.h.w.now
	c.out.unacked, c.out.window = c.out.next, int(p.window)
	c.out.timeout = firstTimeout
	c.alarm.set(time.Time{})
	if l := c.listener; l != nil {
		c.listener = nil
		l.established(c)
	}
	c.output()
	c.changed.Broadcast()
}

// onAlarm is called when what was waited for did not come.
func (c *tcpConn) onAlarm() {
	waited := c.h.w.now.Sub(c.since)
	switch {
	case c.state == timeWaiting, c.orphaned():
		c.end(nil)
	case c.state == established && len(c.out.queue) == 0:
		c.keepAlive()
	case c.state != established && waited >= connectFor, waited >= giveUpAfter:
		c.end(syscall.ETIMEDOUT)
	case c.state != established:
		c.out.backOff()
		c.sendSYN()
	default:
		c.retransmit()
	}
}

// keepAlive asks whether the far end is still there, if nothing came for long (RFC 9293
// section 3.8.4).
func (c *tcpConn) keepAlive() {
	if c.idle > 0 && c.h.w.now.Sub(c.heard) >= c.idle {
		if c.probes == keepAlives {
			c.end(syscall.ETIMEDOUT)
			return
		}
		c.probes++
		c.sendSegment(c.out.highest-1, nat.ACK, nil)
	}
	c.setTimer()
}

// orphaned is whether this end has said and heard all that it ever will.
func (c *tcpConn) orphaned() bool { return c.closed && c.out.finAcked && !c.in.fin }

// finished moves on after a FIN was received or acknowledged.
func (c *tcpConn) finished() {
	switch {
	case c.state != established || !c.out.finAcked:
	case !c.in.fin:
		if c.closed && (c.keeping || c.alarm.at.IsZero()) {
			c.keeping = false
			c.alarm.set(c.h.w.now.Add(orphanFor)) // whatever else the far end says
		}
	case c.in.finLast:
		c.state = timeWaiting
		c.alarm.set(c.h.w.now.Add(timeWait))
	default:
		c.end(nil)
	}
}

// end ends the connection on this side, without a word to the other.
func (c *tcpConn) end(why error) {
	if c.state == ended {
		return
	}
	c.state = ended
	if c.err == nil {
		c.err = why
	}
	c.alarm.set(time.Time{})
	c.out.drop()
	if c.h.conns[c.key] == c {
		delete(c.h.conns, c.key)
	}
	if c.b != nil {
		c.h.unbind(c.b)
	}
	if c.listener != nil {
		c.listener.halfOpen--
	}
	c.changed.Broadcast()
}

// reset ends the connection on both sides.
func (c *tcpConn) reset() {
	c.sendSegment(c.out.highest, nat.RST|nat.ACK, nil)
	c.end(syscall.ECONNRESET)
}
