package natlab

import (
	"time"

	"switchboard/relay/natlab/nat"
)

// sending is the direction from this end.
type sending struct {
	first   uint32 // of the SYN
	unacked uint32 // the oldest that is not acknowledged
	next    uint32 // to be sent; set back when segments are sent again
	highest uint32 // that next has been

	queue  []segment // from unacked on
	sent   int       // how many of queue were sent, since next was last set back
	queued int       // bytes in queue
	window int       // of the far end

	// RFC 5681 and 6582.
	congestion int
	threshold  int
	repeats    int    // acknowledgements of the same
	recover    uint32 // until this is acknowledged, losses are of the same window
	recovering bool

	// RFC 6298.
	timeout          time.Duration
	smooth, variance time.Duration
	timing           bool
	timed            uint32 // the end of the segment that is being timed
	timedAt          time.Time

	finAcked bool
}

// segment is data, or a FIN.
type segment struct {
	seq     uint32
	payload []byte
	fin     bool
}

func (s *segment) end() uint32 {
	if s.fin {
		return s.seq + 1
	}
	return s.seq + uint32(len(s.payload))
}

func newSending(first uint32) sending {
	return sending{first: first, unacked: first, next: first + 1, highest: first + 1, congestion: firstWindow, threshold: tcpBuffer, timeout: firstTimeout}
}

// end is where the queue ends.
func (s *sending) end() uint32 {
	if n := len(s.queue); n > 0 {
		return s.queue[n-1].end()
	}
	return s.next
}

func (s *sending) room() int { return tcpBuffer - s.queued }

// add queues a copy of data.
func (s *sending) add(data []byte) {
	for len(data) > 0 {
		n := min(len(data), mss)
		s.queue = append(s.queue, segment{seq: s.end(), payload: append([]byte(nil), data[:n]...)})
		s.queued += n
		data = data[n:]
	}
}

func (s *sending) addFIN() { s.queue = append(s.queue, segment{seq: s.end(), fin: true}) }

func (s *sending) drop() { s.queue, s.sent, s.queued = nil, 0, 0 }

func (s *sending) inFlight() int { return int(s.next - s.unacked) }

// may is whether the next segment may be sent now.
func (s *sending) may() bool {
	if s.sent == len(s.queue) {
		return false
	}
	size := len(s.queue[s.sent].payload)
	return s.inFlight()+size <= min(s.window, s.congestion)
}

func (s *sending) backOff() { s.timeout = min(2*s.timeout, maxTimeout) }

// measured takes a round trip into account (RFC 6298 section 2).
func (s *sending) measured(rtt time.Duration) {
	if s.smooth == 0 {
		s.smooth, s.variance = max(rtt, 1), rtt/2
	} else {
		s.variance = (3*s.variance + (s.smooth - rtt).Abs()) / 4
		s.smooth = (7*s.smooth + rtt) / 8
	}
	s.timeout = min(max(s.smooth+4*s.variance, minTimeout), maxTimeout)
}

// output sends what may be sent.
func (c *tcpConn) output() {
	s := &c.out
	for s.may() {
		c.sendNext()
	}
	c.setTimer()
}

// sendNext sends the next segment, whether or not it may be.
func (c *tcpConn) sendNext() {
	s := &c.out
	g := &s.queue[s.sent]
	s.sent++
	s.next = g.end()
	if after(s.next, s.highest) {
		s.highest = s.next
		if !s.timing {
			s.timing, s.timed, s.timedAt = true, s.next, c.h.w.now
		}
	}
	c.sendQueued(g)
}

func (c *tcpConn) sendQueued(g *segment) {
	f := nat.ACK
	if g.fin {
		f |= nat.FIN
	}
	c.sendSegment(g.seq, f, g.payload)
}

// setTimer has the alarm ring when an acknowledgement, or room at the far end, is overdue,
// or else when the connection has been idle.
func (c *tcpConn) setTimer() {
	switch {
	case c.state != established:
	case len(c.out.queue) == 0:
		if !c.orphaned() {
			c.alarm.set(c.nextKeepAlive())
		}
	case c.alarm.at.IsZero() || c.keeping:
		c.since = c.h.w.now
		c.alarm.set(c.h.w.now.Add(c.out.timeout))
	}
	c.keeping = len(c.out.queue) == 0 && !c.orphaned()
}

// nextKeepAlive is when one is due; zero is never.
func (c *tcpConn) nextKeepAlive() time.Time {
	if c.idle == 0 {
		return time.Time{}
	}
	return c.heard.Add(c.idle * time.Duration(c.probes+1))
}

// retransmit begins again with the oldest segment, slowly (RFC 5681 section 3.1). With no
// room at the far end, this is the probe for it (RFC 9293 section 3.8.6.1).
func (c *tcpConn) retransmit() {
	s := &c.out
	if len(s.queue) == 0 {
		return
	}
	s.threshold = max(s.inFlight()/2, 2*mss)
	s.congestion = mss
	s.recovering, s.repeats, s.timing = false, 0, false
	s.next, s.sent = s.unacked, 0
	s.backOff()
	c.alarm.set(c.h.w.now.Add(s.timeout))
	c.sendNext()
}

// receiveACK has what a segment says of what was sent.
func (c *tcpConn) receiveACK(p *packet) {
	s := &c.out
	switch {
	case after(p.ack, s.highest):
		c.sendACK()
		return
	case c.state == synReceived:
		if p.ack != s.next {
			c.sendSegment(p.ack, nat.RST, nil)
			return
		}
		c.establish(p)
		return
	case before(p.ack, s.unacked):
		return
	}
	window := s.window
	s.window = int(p.window)
	if window < mss {
		c.since = c.h.w.now // the far end is slow, but there
		if s.window >= mss {
			s.next, s.sent = s.unacked, 0 // there was no room for the probe
		}
	}
	switch {
	case after(p.ack, s.unacked):
		c.progress(p.ack)
	case p.length() == 0 && window == s.window && window >= mss && s.inFlight() > 0:
		c.repeated()
	}
	if c.state == established {
		c.output()
		c.finished()
	}
}

// progress is made when something new is acknowledged.
func (c *tcpConn) progress(ack uint32) {
	s := &c.out
	if s.timing && !before(ack, s.timed) {
		s.timing = false
		s.measured(c.h.w.now.Sub(s.timedAt))
	}
	acked := int(ack - s.unacked)
	s.unacked = ack
	if before(s.next, ack) {
		s.next = ack
	}
	done := 0
	for done < len(s.queue) && !after(s.queue[done].end(), ack) {
		s.queued -= len(s.queue[done].payload)
		s.finAcked = s.finAcked || s.queue[done].fin
		s.queue[done] = segment{}
		done++
	}
	s.queue, s.sent = s.queue[done:], max(s.sent-done, 0)
	if len(s.queue) == 0 {
		s.queue = nil
	}
	c.grow(acked)
	c.since = c.h.w.now
	c.alarm.set(time.Time{})
	c.changed.Broadcast()
}

// grow opens the congestion window, or sends again what else a window has lost.
func (c *tcpConn) grow(acked int) {
	s := &c.out
	s.repeats = 0
	switch {
	case s.recovering && before(s.unacked, s.recover):
		s.timing = false
		if len(s.queue) > 0 {
			c.sendQueued(&s.queue[0])
		}
	case s.recovering:
		s.recovering = false
	case s.congestion < s.threshold:
		s.congestion += min(acked, mss)
	default:
		s.congestion += max(mss*mss/s.congestion, 1)
	}
}

// repeated has the same acknowledged again: something arrived behind a gap (RFC 5681 section
// 3.2).
func (c *tcpConn) repeated() {
	s := &c.out
	if s.repeats++; s.repeats != 3 || s.recovering || len(s.queue) == 0 {
		return
	}
	s.threshold = max(s.inFlight()/2, 2*mss)
	s.congestion = s.threshold
	s.recovering, s.recover, s.timing = true, s.highest, false
	c.sendQueued(&s.queue[0])
}
