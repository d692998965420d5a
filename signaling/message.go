package signaling

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/protocol"
)

// stored is an item as it lies in a mailbox: what the device gets, and whom a
// receipt for it goes to.
type stored struct {
	protocol.MailboxItem
	// Sender is the account whose devices hear that the text has arrived, ""
	// for none.
	Sender directory.Account `json:"sender,omitempty"`
}

// messageSend stores a text for every device of the receiver and for the other
// devices of the sender, and only then answers.
func (s *Server) messageSend(ctx context.Context, ss *session, m *protocol.MessageSend) (any, error) {
	l := s.cfg.Limits
	if err := s.allow(&ss.texts, l.MessagesPerSecond, l.MessagesBurst, "messages"); err != nil {
		return nil, err
	}
	to, receiver, r, err := s.approached(ctx, ss, m.To)
	if err != nil {
		return nil, err
	}
	d := digestOf(to, m)
	if stored, err := s.texts.repeated(ss.account, m.ID, d); err != nil {
		return nil, err
	} else if stored != 0 {
		return &protocol.MessageStored{ID: m.ID, To: to, Time: stored}, nil
	}
	if err := s.pairs.take(pair{ss.account, receiver}, 1); err != nil {
		s.metrics.limited.WithLabelValues("pairs").Inc()
		return nil, err
	}
	devices, err := s.Numbers.Devices(ctx, receiver)
	if err != nil {
		return nil, err
	}
	theirs := boxesOf(devices, 0)
	if len(theirs) == 0 {
		return nil, protocol.NewError(protocol.CodeNotFound, "no such number")
	}
	own, err := s.boxes(ctx, ss.account, ss.device)
	if err != nil {
		return nil, err
	}
	bodies, err := sealed(theirs, own, m)
	if err != nil {
		return nil, err
	}
	it := protocol.MailboxItem{
		Kind: protocol.KindMessage, ID: m.ID, From: ss.number, To: to, Time: time.Now().UnixMilli(),
		ContentType: cmp.Or(m.ContentType, "text/plain"), Body: m.Body, Device: uint32(ss.device),
	}
	if m.ExpiresMS != 0 {
		it.Expires = it.Time + m.ExpiresMS
	}
	entries := compose(it, ss.account, theirs, own, bodies)
	for i := range entries {
		entries[i].Sum, entries[i].TTL = d.at(""), lifeOf(m)
		if bodies != nil {
			entries[i].Sum = d.at(bodies[i])
		}
	}
	receivers := len(theirs)
	if r.Blocked { // he must not be able to tell
		entries, receivers = entries[receivers:], 0
		s.metrics.blocked.Inc()
	}
	if err := s.placed(ctx, entries, receivers, s.put(ctx, entries, receivers)); err != nil {
		return nil, err
	}
	if !r.Blocked {
		s.wakeForText(ctx, receiver, devices)
	}
	s.texts.stored(ss.account, m.ID, d, it.Time)
	s.metrics.messages.Inc()
	s.met.meet(ss.account, to)
	return &protocol.MessageStored{ID: m.ID, To: to, Time: it.Time}, nil
}

// compose makes the entries of a text, those of the receiver's boxes first. bodies
// has a body for each box, or is nil if they are the same.
func compose(it protocol.MailboxItem, sender directory.Account, theirs, own []mailbox.Box, bodies []string) []mailbox.Entry {
	// The id is the client's; the sender's name before it keeps clients from
	// using up each other's.
	id := string(sender) + "." + it.ID
	if bodies == nil {
		return append(entriesFor(theirs, id, stored{it, sender}), entriesFor(own, id, stored{it, ""})...)
	}
	var entries []mailbox.Entry
	for i, b := range slices.Concat(theirs, own) {
		to := stored{MailboxItem: it}
		if to.Body = bodies[i]; i < len(theirs) {
			to.Sender = sender
		}
		entries = append(entries, entriesFor([]mailbox.Box{b}, id, to)...)
	}
	return entries
}

// messageRead puts a read receipt into the mailboxes of the other side, unless
// one of them does not want any, and into those of the reader's other devices,
// which have no need to show the texts as new.
func (s *Server) messageRead(ctx context.Context, ss *session, m *protocol.MessageRead) (any, error) {
	l := s.cfg.Limits
	if err := s.allow(&ss.texts, l.MessagesPerSecond, l.MessagesBurst, "messages"); err != nil {
		return nil, err
	}
	to, author, r, err := s.approached(ctx, ss, m.To)
	if err != nil {
		return nil, err
	}
	boxes, err := s.boxes(ctx, ss.account, ss.device)
	if err != nil {
		return nil, err
	}
	told, err := s.tellsRead(ctx, ss, r)
	if err != nil {
		return nil, err
	}
	if told {
		theirs, err := s.boxes(ctx, author, 0)
		if err != nil {
			return nil, err
		}
		boxes = append(boxes, theirs...)
	}
	return nil, s.putReceipt(ctx, receiptFor(boxes, protocol.KindRead, m.ID, ss, to))
}

// tellsRead reports whether an author of whom r is known learns that the
// session's owner has read a text. Who tells nobody is told by nobody.
func (s *Server) tellsRead(ctx context.Context, reader *session, r directory.Relation) (bool, error) {
	if r.Blocked || r.Settings.ReadReceipts == directory.Nobody {
		return false, nil
	}
	own, err := s.People.AccountOf(ctx, reader.account)
	return own.Settings.ReadReceipts != directory.Nobody, err
}

// receipt tells every device of an account that its texts up to id have got
// to, or were read by, the session's owner.
func (s *Server) receipt(ctx context.Context, kind protocol.Kind, id string, from *session, to e164.Number, receiver directory.Account) error {
	boxes, err := s.boxes(ctx, receiver, 0)
	if err != nil {
		return err
	}
	return s.putReceipt(ctx, receiptFor(boxes, kind, id, from, to))
}

// putReceipt stores a receipt where there is room: the next one tells of all
// before it.
func (s *Server) putReceipt(ctx context.Context, entries []mailbox.Entry) error {
	_, err := fullOf(s.put(ctx, entries, 0))
	return err
}

// receiptFor makes the entries of a receipt by a session's owner.
func receiptFor(boxes []mailbox.Box, kind protocol.Kind, id string, from *session, to e164.Number) []mailbox.Entry {
	it := protocol.MailboxItem{Kind: kind, ID: id, From: from.number, To: to, Time: time.Now().UnixMilli()}
	key := string(from.account) + "." + string(kind) + "." + id
	return entriesFor(boxes, key, stored{it, ""})
}

// receiver reads and resolves the number that a text goes to.
func (s *Server) receiver(ctx context.Context, ss *session, text string) (e164.Number, directory.Account, error) {
	to, err := ss.dialled(text)
	if err != nil {
		return e164.Number{}, "", err
	}
	if to == ss.number {
		return e164.Number{}, "", protocol.NewError(protocol.CodeSelf, "that is the sender's own number")
	}
	a, err := s.Numbers.Resolve(ctx, to)
	return to, a, err
}

// approached is receiver for what the receiver's people will hear of: it counts
// if they do not know the sender, and tells what they think of him.
func (s *Server) approached(ctx context.Context, ss *session, text string) (to e164.Number, a directory.Account, r directory.Relation, err error) {
	to, a, missing := s.receiver(ctx, ss, text)
	if missing != nil && !errors.Is(missing, directory.ErrNotFound) {
		return to, "", r, missing
	}
	if r, err = s.relation(ctx, a, ss); err != nil {
		return to, "", r, err
	}
	if err := s.approach(ctx, ss, to, r); err != nil {
		return to, "", r, err
	}
	return to, a, r, missing
}

// boxes lists the mailboxes of an account's devices, but for one.
func (s *Server) boxes(ctx context.Context, a directory.Account, except directory.Device) ([]mailbox.Box, error) {
	devices, err := s.Numbers.Devices(ctx, a)
	if err != nil {
		return nil, err
	}
	return boxesOf(devices, except), nil
}

func boxesOf(devices []directory.DeviceRecord, except directory.Device) []mailbox.Box {
	var boxes []mailbox.Box
	for _, d := range devices {
		if d.Device != except {
			boxes = append(boxes, mailbox.Box{Account: string(d.Account), Device: uint32(d.Device)})
		}
	}
	return boxes
}

func entriesFor(boxes []mailbox.Box, id string, it stored) []mailbox.Entry {
	data, _ := json.Marshal(it) // has nothing that cannot be encoded
	entries := make([]mailbox.Entry, len(boxes))
	for i, b := range boxes {
		entries[i] = mailbox.Entry{Box: b, ID: id, Data: data}
	}
	return entries
}

// put stores entries and then tells the devices' nodes. The first of them, as many
// as texts says, are worth waking a device for. On error some may have been stored;
// those devices are told, too.
func (s *Server) put(ctx context.Context, entries []mailbox.Entry, texts int) error {
	if len(entries) == 0 {
		return nil
	}
	seqs, err := s.Mailboxes.Put(ctx, entries...)
	for i, e := range entries {
		if i < len(seqs) && seqs[i] != 0 {
			s.poke(ctx, directory.Account(e.Box.Account), directory.Device(e.Box.Device), news{seqs[i], i < texts})
		}
	}
	return err
}

// typing passes on that somebody writes, to the devices that are there.
func (s *Server) typing(ctx context.Context, ss *session, m *protocol.Typing) (any, error) {
	if err := s.allowLookup(ss); err != nil {
		return nil, err
	}
	_, receiver, err := s.receiver(ctx, ss, m.To)
	if errors.Is(err, directory.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := s.relation(ctx, receiver, ss)
	if err != nil || r.Blocked {
		return nil, err
	}
	devices, err := s.bound(ctx, receiver)
	if err != nil {
		return nil, err
	}
	for _, d := range devices {
		s.tell(ctx, receiver, d, &protocol.Typing{From: &ss.number})
	}
	return nil, nil
}
