package signaling

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
	"switchboard/signaling/push"
)

// pump brings a device's mailbox to its connection. The mailbox itself is the
// cursor: what the device has acknowledged is removed, and a new connection
// begins with what is left. A goroutine runs only while there is something to
// read; at most [Limits.InFlightItems] items are unacknowledged.
type pump struct {
	// Guarded by mu.
	mu       sync.Mutex
	running  bool
	again    bool      // something has happened since the running one looked
	epoch    uint64    // counts connections, so that a run for an old one ends
	wanted   uint64    // the mailbox is known to reach to here
	sent     uint64    // the last item sent on this connection
	drained  bool      // the marker has been sent on this connection
	checked  time.Time // when the mailbox's end was last looked up
	inFlight []flight
	bytes    int    // of what is in flight
	have     uint64 // the device has acknowledged up to here, in this session
	text     uint64 // the last text that is known to be there

	missed time.Time // since when the device has missed something, until it knows
	told   bool      // it has been told so on this connection

	acks acks
}

// flight is an item that has been sent and not acknowledged.
type flight struct {
	seq    uint64
	id     string
	kind   protocol.Kind
	sender directory.Account
	from   e164.Number
	bytes  int
}

const (
	// pumpBatch is how many items are read at a time.
	pumpBatch = 64
	// pumpTries is how often, pumpRetry apart, it looks again for what must be
	// there.
	pumpTries = 5
	pumpRetry = 200 * time.Millisecond
	// pumpCheck is how often the end of a quiet device's mailbox is looked up, in
	// case a poke has been lost between nodes.
	pumpCheck = time.Minute
)

func (ss *session) box() mailbox.Box {
	return mailbox.Box{Account: string(ss.account), Device: uint32(ss.device)}
}

// restart begins anew on a new connection.
func (p *pump) restart(ss *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.epoch++
	p.sent, p.wanted, p.drained = p.have, 0, false
	p.inFlight, p.bytes = nil, 0
	p.told = false
	p.start(ss)
}

// poke is told that there is something.
func (p *pump) poke(ss *session, n news) {
	if n.text {
		ss.wakeFor(push.Wake{Reason: push.Message})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wanted = max(p.wanted, n.seq)
	if n.text {
		p.text = max(p.text, n.seq)
	}
	if p.epoch > 0 {
		p.start(ss)
	}
}

// check is told that the client has sent a ping. It looks for what no poke has told
// of, if that was long ago.
func (p *pump) check(ss *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told { // the client has had time to hear it
		missed := p.missed
		p.told, p.missed = false, time.Time{}
		ss.srv.goroutines.Go(func() { ss.srv.caughtUp(ss, missed) })
	}
	if time.Since(p.checked) >= pumpCheck && p.drained {
		p.start(ss)
	}
}

// look looks for what may have come without a poke.
func (p *pump) look(ss *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch > 0 {
		p.checked = time.Time{}
		p.start(ss)
	}
}

// start lets a run look again, or starts one. It must hold mu.
func (p *pump) start(ss *session) {
	if p.running {
		p.again = true
		return
	}
	p.running = ss.srv.goroutines.Go(func() { p.run(ss) })
}

// run sends what is there and returns when there is nothing to do.
func (p *pump) run(ss *session) {
	tries := 0
	for {
		p.mu.Lock()
		epoch, after, room := p.epoch, p.sent, ss.srv.cfg.Limits.InFlightItems-len(p.inFlight)
		p.again = false
		p.mu.Unlock()
		if room > 0 && ss.connected() {
			more, err := p.send(ss, epoch, after, min(room, pumpBatch))
			if err != nil {
				ss.srv.log.Warn("mailbox not read", "error", err)
			}
			if more {
				tries = 0
				continue
			}
			if p.behind(&ss.srv.cfg, err) && tries < pumpTries && ss.srv.pause(pumpRetry) {
				tries++
				continue
			}
		}
		if p.rest() {
			return
		}
		tries = 0
	}
}

// behind reports whether a read found less than is known to be there, which a
// replica that lags can cause.
func (p *pump) behind(cfg *Config, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	full := len(p.inFlight) >= cfg.Limits.InFlightItems || p.bytes > cfg.Limits.QueueBytes/4
	return err != nil || p.sent < p.wanted && !full
}

// rest ends the run, unless something has happened meanwhile.
func (p *pump) rest() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.again {
		return false
	}
	p.running = false
	return true
}

// send reads a batch and sends it. It reports whether there may be more.
func (p *pump) send(ss *session, epoch, after uint64, limit int) (bool, error) {
	ctx, cancel := ss.srv.request()
	defer cancel()
	items, more, err := ss.srv.Mailboxes.Read(ctx, ss.box(), after, limit)
	if err != nil {
		return false, err
	}
	end := !more && len(items) < limit && p.unsure()
	var tail uint64
	if end {
		// A replica may lag: only the leader knows where the mailbox ends.
		if tail, err = ss.srv.Mailboxes.Tail(ctx, ss.box()); err != nil {
			return false, err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.epoch != epoch {
		return true, nil // another connection: begin anew
	}
	if end {
		p.wanted, p.checked = max(p.wanted, tail), time.Now()
	}
	for _, it := range items {
		if p.bytes += len(it.Data); p.bytes > ss.srv.cfg.Limits.QueueBytes/2 && len(p.inFlight) > 0 {
			p.bytes -= len(it.Data)
			return false, nil // an acknowledgement makes room
		}
		p.sent = it.Seq
		m, f := decodeStored(it)
		if m == nil {
			ss.srv.log.Error("mailbox item is broken and left out", "seq", it.Seq)
			continue
		}
		if m.Expires != 0 && m.Expires <= time.Now().UnixMilli() {
			continue // the store is about to remove it
		}
		p.inFlight = append(p.inFlight, f)
		if f.kind == protocol.KindMessage && f.sender != "" {
			p.text = max(p.text, f.seq)
		}
		ss.tell(m)
	}
	if end && p.sent >= tail && !p.drained {
		p.drained = true
		m := &protocol.MailboxDrained{Seq: p.sent}
		if p.told = !p.missed.IsZero(); p.told {
			m.Missed = p.missed.UnixMilli()
		}
		ss.tell(m)
	}
	return len(items) > 0, nil
}

// unsure reports whether the end of the mailbox must be looked up: before the
// device is told that it has all, and now and then in case a poke was lost.
// Otherwise pokes tell how far it reaches.
func (p *pump) unsure() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.drained || time.Since(p.checked) >= pumpCheck
}

func decodeStored(it mailbox.Item) (*protocol.MailboxItem, flight) {
	var st stored
	if err := json.Unmarshal(it.Data, &st); err != nil {
		return nil, flight{}
	}
	st.Seq = it.Seq
	return &st.MailboxItem, flight{it.Seq, st.ID, st.Kind, st.Sender, st.From, len(it.Data)}
}

// acked is told that the device has every item up to upto.
func (p *pump) acked(ss *session, upto uint64) {
	p.acks.add(ss, p.land(upto))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(ss) // there is room for more
}

// owes reports whether the device does not have a text that is there for it.
func (p *pump) owes() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text > p.have
}

// land takes the items up to upto out of flight.
func (p *pump) land(upto uint64) []flight {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.inFlight) && p.inFlight[n].seq <= upto {
		p.bytes -= p.inFlight[n].bytes
		n++
	}
	have := p.inFlight[:n:n]
	if n > 0 {
		p.have = have[n-1].seq
	}
	if p.inFlight = p.inFlight[n:]; len(p.inFlight) == 0 {
		p.inFlight = nil
	}
	return have
}

// delivered tells each sender of the texts among the items, once, about his
// last.
func (s *Server) delivered(ctx context.Context, ss *session, have []flight) error {
	last := map[directory.Account]flight{}
	for _, f := range have {
		if f.kind == protocol.KindMessage && f.sender != "" {
			last[f.sender] = f
		}
	}
	for sender, f := range last {
		if err := s.receipt(ctx, protocol.KindDelivered, f.id, ss, f.from, sender); err != nil {
			return err
		}
		s.metrics.delivered.Inc()
	}
	return nil
}

// pause waits and reports true, unless the server stops.
func (s *Server) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}
