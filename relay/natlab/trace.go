package natlab

// Counts are of packets, since the world was made.
type Counts struct {
	Sent      uint64 // by hosts
	Received  uint64
	Forwarded uint64 // by routers, once by each
	dropped   [drops]uint64
}

// Dropped is how many were dropped for a reason.
func (c Counts) Dropped(why Drop) uint64 {
	if int(why) >= drops {
		return 0
	}
	return c.dropped[why]
}

// DroppedAll is how many were dropped.
func (c Counts) DroppedAll() uint64 {
	var n uint64
	for _, d := range c.dropped {
		n += d
	}
	return n
}

// Counts returns how many packets there were.
func (w *World) Counts() Counts {
	w.lock()
	defer w.unlock()
	return w.counts
}

type tracer struct{ f func(Packet) }

// Trace has f called with all that happens to packets, one call at a time, until the
// function that it returns is called. f is called in the middle of it: it must be quick and
// call nothing of the world.
func (w *World) Trace(f func(Packet)) (stop func()) {
	w.lock()
	defer w.unlock()
	t := &tracer{f}
	w.tracers = append(w.tracers, t)
	return func() {
		w.lock()
		defer w.unlock()
		for i, x := range w.tracers {
			if x == t {
				w.tracers = append(w.tracers[:i:i], w.tracers[i+1:]...)
				return
			}
		}
	}
}

func (w *World) sent(node string, p *packet) {
	w.counts.Sent++
	w.trace(node, p, Sent, NotDropped)
}

func (w *World) received(node string, p *packet) {
	w.counts.Received++
	w.trace(node, p, Received, NotDropped)
}

func (w *World) forwarded(node string, p *packet) {
	w.counts.Forwarded++
	w.trace(node, p, Forwarded, NotDropped)
}

// drop ends a packet.
func (w *World) drop(node string, p *packet, why Drop) {
	w.counts.dropped[why]++
	w.trace(node, p, Dropped, why)
}

func (w *World) trace(node string, p *packet, what What, why Drop) {
	if len(w.tracers) == 0 {
		return
	}
	x := Packet{
		At: w.now, Node: node, What: what, Why: why,
		Proto: p.proto, Flags: p.flags, Src: p.src, Dst: p.dst, Seq: p.seq, Ack: p.ack, Window: p.window, Payload: p.payload,
	}
	for _, t := range w.tracers {
		t.f(x)
	}
}
