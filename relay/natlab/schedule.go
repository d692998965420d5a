package natlab

import "time"

// hop is a packet's next step: it arrives at a port, or, without one, enters a network.
type hop struct {
	p    *packet
	port *port
	net  *Network
	down bool // it entered the network from its router, and does not go back there
}

// hops is a queue, first in, first out.
type hops struct {
	items []hop
	next  int
}

func (q *hops) empty() bool { return q.next == len(q.items) }

func (q *hops) push(h hop) { q.items = append(q.items, h) }

func (q *hops) pop() hop {
	h := q.items[q.next]
	q.items[q.next] = hop{}
	q.next++
	if q.empty() {
		q.items, q.next = q.items[:0], 0
	}
	return h
}

// event is what happens later: a hop, or an alarm.
type event struct {
	at    time.Time
	seq   uint64 // events of the same time keep their order
	hop   hop
	alarm *alarm
}

func (e *event) before(o *event) bool {
	if e.at.Equal(o.at) {
		return e.seq < o.seq
	}
	return e.at.Before(o.at)
}

// schedule is a heap of events, the earliest first.
type schedule struct {
	heap []event
	seq  uint64
}

func (s *schedule) empty() bool   { return len(s.heap) == 0 }
func (s *schedule) first() *event { return &s.heap[0] }

func (s *schedule) push(e event) {
	s.seq++
	e.seq = s.seq
	s.heap = append(s.heap, e)
	for i := len(s.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !s.heap[i].before(&s.heap[up]) {
			break
		}
		s.heap[i], s.heap[up] = s.heap[up], s.heap[i]
		i = up
	}
}

func (s *schedule) pop() event {
	e := s.heap[0]
	n := len(s.heap) - 1
	s.heap[0] = s.heap[n]
	s.heap[n] = event{}
	s.heap = s.heap[:n]
	for i := 0; ; {
		least := i
		for _, down := range [2]int{2*i + 1, 2*i + 2} {
			if down < n && s.heap[down].before(&s.heap[least]) {
				least = down
			}
		}
		if least == i {
			return e
		}
		s.heap[i], s.heap[least] = s.heap[least], s.heap[i]
		i = least
	}
}

// alarm calls ring, with the world's lock held, when its time comes. Setting it anew
// is cheap: there is one event for it, which is put off when it turns out too early.
type alarm struct {
	w    *World
	ring func()

	at      time.Time // zero: never
	pending time.Time // of its event; zero if there is none
}

// set has it ring at a time, instead of any other; zero is never.
func (a *alarm) set(at time.Time) {
	a.at = at
	if !at.IsZero() && (a.pending.IsZero() || at.Before(a.pending)) {
		a.pending = at
		a.w.later.push(event{at: at, alarm: a})
	}
}

func (a *alarm) due(event time.Time) {
	if !event.Equal(a.pending) {
		return // set to an earlier time after this event was made
	}
	a.pending = time.Time{}
	switch {
	case a.at.IsZero():
	case a.at.After(a.w.now):
		a.set(a.at)
	default:
		a.at = time.Time{}
		a.ring()
	}
}

// deadline is of reads or writes.
type deadline struct {
	passed bool
	alarm  alarm
}

// newDeadline returns one that is never. wake is for those who wait.
func newDeadline(w *World, wake func()) *deadline {
	d := new(deadline)
	d.alarm = alarm{w: w, ring: func() { d.passed = true; wake() }}
	return d
}

// set is as in net.Conn: zero is never, and the past is at once.
func (d *deadline) set(t time.Time) {
	d.passed = false
	if t.IsZero() {
		d.alarm.set(t)
		return
	}
	if wait := t.Sub(d.alarm.w.now); wait > 0 {
		d.alarm.set(d.alarm.w.now.Add(wait))
		return
	}
	d.alarm.set(time.Time{})
	d.alarm.ring()
}
