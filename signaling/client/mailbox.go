package client

import (
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// mailbox is what the client knows of the device's mailbox: which items the
// program has, so that repeats are dropped and only what is kept is
// acknowledged. The client's mu guards it.
type mailbox struct {
	had    map[itemKey]bool // true once acknowledged by the program
	recent []itemKey        // oldest first
	flight []flight         // sent on this connection and not yet acknowledged to the server
	upto   uint64           // what may be acknowledged to the server, 0 for nothing new
	untold int              // how many items that are, at most

	repeats uint64 // items that came again
}

type itemKey struct {
	kind protocol.Kind
	from e164.Number
	id   string
}

type flight struct {
	seq uint64
	key itemKey
}

// maxRecent is how many items are remembered to recognise repeats.
const maxRecent = 4096

// keptAfter is how many items are acknowledged to the server at once, rather than
// after [ackDelay]: few enough that a long backlog never waits for it.
const keptAfter = 64

func newMailbox() mailbox { return mailbox{had: map[itemKey]bool{}} }

// reconnected forgets what was under way: the server sends it again.
func (m *mailbox) reconnected() { m.flight, m.upto, m.untold = nil, 0, 0 }

// arrived notes an item and reports whether the program has not had it.
func (m *mailbox) arrived(it *protocol.MailboxItem) bool {
	key := itemKey{it.Kind, it.From, it.ID}
	m.flight = append(m.flight, flight{it.Seq, key})
	if _, had := m.had[key]; had {
		m.advance()
		return false
	}
	m.had[key] = false
	m.recent = append(m.recent, key)
	for len(m.recent) > maxRecent && m.had[m.recent[0]] {
		delete(m.had, m.recent[0])
		m.recent = m.recent[1:]
	}
	return true
}

// kept notes that the program keeps an item.
func (m *mailbox) kept(key itemKey) {
	if _, ok := m.had[key]; ok {
		m.had[key] = true
	}
	m.advance()
}

// advance takes what is kept from the front, so that nothing is acknowledged
// before what came earlier.
func (m *mailbox) advance() {
	n := 0
	for n < len(m.flight) && m.had[m.flight[n].key] {
		m.upto = m.flight[n].seq
		n++
	}
	m.untold += n
	m.flight = m.flight[n:]
}

// item hands an item to the program, unless it has had it.
func (c *Client) item(it *protocol.MailboxItem) bool {
	c.mu.Lock()
	fresh := c.box.arrived(it)
	if !fresh {
		c.box.repeats++
	}
	c.mu.Unlock()
	if !fresh {
		return true
	}
	key := itemKey{it.Kind, it.From, it.ID}
	return c.emit(Item{*it, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.box.kept(key)
		if c.box.untold >= keptAfter && c.link != nil {
			c.link.flushKept()
		}
	}})
}

// drained tells the program that it has what has waited.
func (c *Client) drained(m *protocol.MailboxDrained) bool {
	var d Drained
	if m.Missed != 0 {
		d.Missed = time.UnixMilli(m.Missed)
	}
	return c.emit(d)
}

// Repeats is how many items of the mailbox came again and were not handed to
// the program again.
func (c *Client) Repeats() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.box.repeats
}

// flushAcks acknowledges to the server what the program keeps.
func (c *Client) flushAcks(l *link) {
	c.mu.Lock()
	upto := c.box.upto
	c.box.upto, c.box.untold = 0, 0
	current := c.link == l
	c.mu.Unlock()
	if upto == 0 || !current {
		return
	}
	raw, err := protocol.Encode(protocol.Frame{}, &protocol.MailboxAck{Seq: upto})
	if err == nil {
		l.send(raw)
	}
}
