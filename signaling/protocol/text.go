package protocol

import (
	"math"
	"slices"

	"switchboard/directory/e164"
)

// MaxMessage is the largest body of a text, in bytes. A stored item must fit
// into a mailbox's 64 KiB with its envelope.
const MaxMessage = 32 << 10

// MinExpiry and MaxExpiry bound the life of a text, in milliseconds: a second and
// a year.
const (
	MinExpiry = 1000
	MaxExpiry = 366 * 24 * 60 * 60 * 1000
)

// MessageSend sends a text to a number. It is answered when the text is stored
// for every device of the receiver and for the sender's other devices.
type MessageSend struct {
	// ID is chosen by the client at random; a retry with the same ID is the
	// same text. The alphabet is that of [CallInvite.Call].
	ID string `json:"id"`
	// To is a number, in any way of writing it, as in [CallInvite.To].
	To string `json:"to"`
	// ContentType is the media type of Body. Absent means text/plain.
	ContentType string `json:"type,omitempty"`
	// Body is for the receiver alone; the server does not look at it. Absent if
	// there are payloads.
	Body string `json:"body,omitempty"`
	// Payloads are bodies of their own for the receiver's devices, one for each, as
	// clients that encrypt end to end have them; OwnPayloads those for the sender's
	// other devices.
	Payloads    []Payload `json:"payloads,omitzero"`
	OwnPayloads []Payload `json:"own_payloads,omitzero"`
	// ExpiresMS is how long the text may be of use, in milliseconds from when it is
	// stored, from a second to a year. What has not been fetched by then is removed. Absent
	// means as long as the mailbox keeps it.
	ExpiresMS int64 `json:"expires_ms,omitempty"`
}

// Payload is the body of a text for one device.
type Payload struct {
	Device uint32 `json:"device"`
	Body   string `json:"body"`
}

// MaxPayloads is the most payloads for the devices of one account.
const MaxPayloads = 16

// MaxKeys bounds what a device publishes as its keys, in bytes.
const MaxKeys = 4 << 10

// DevicesGet asks for the devices of a number, or of one's own, for a text with
// payloads.
type DevicesGet struct {
	// Number may be written in any way.
	Number string `json:"number"`
}

// DeviceList lists the devices of a number.
type DeviceList struct {
	Number  e164.Number  `json:"number"`
	Devices []DeviceKeys `json:"devices"`
}

// DeviceKeys is a device, and what it has published for those who encrypt for it.
type DeviceKeys struct {
	Device uint32 `json:"device"`
	Keys   string `json:"keys,omitempty"`
}

// KeysSet publishes what others need to encrypt for this device, in whatever form
// clients agree on. Empty takes it back.
type KeysSet struct {
	Keys string `json:"keys,omitempty"`
}

// MessageStored says that a text is on disk.
type MessageStored struct {
	ID string      `json:"id"`
	To e164.Number `json:"to"`
	// Time is when the server stored it, as Unix milliseconds.
	Time int64 `json:"time"`
}

// MessageRead tells the other side of a conversation that everything up to and
// including the text ID has been read.
type MessageRead struct {
	To string `json:"to"`
	ID string `json:"id"`
}

// Kind is what a mailbox item is.
type Kind string

const (
	KindMessage   Kind = "message"   // a text, received or sent by another device of the account
	KindDelivered Kind = "delivered" // the other side has every text up to and including ID on a device
	KindRead      Kind = "read"      // the other side has read every text up to and including ID
	KindCall      Kind = "call"      // a call that ended, for people's history
)

// MailboxItem is an item of the device's mailbox. Items come in the order of
// Seq; a device may get an item more than once and drops what it has, by Kind,
// From and ID.
type MailboxItem struct {
	// Seq is the item's place in the mailbox: it grows, with gaps.
	Seq uint64 `json:"seq"`
	// N counts the items on a connection, from 1: one that is not the next tells of
	// one that was lost on the way.
	N    uint64 `json:"n,omitempty"`
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
	// From and To are numbers. One of them is the device's own.
	From e164.Number `json:"from"`
	To   e164.Number `json:"to"`
	// Time is when the server stored it, as Unix milliseconds.
	Time int64 `json:"time"`

	ContentType string `json:"type,omitempty"` // of a message
	Body        string `json:"body,omitempty"` // of a message
	// Device is the sender's, of a message.
	Device uint32 `json:"device,omitempty"`
	// Expires is when a message is of no use any more, as Unix milliseconds; absent
	// if its sender has not said.
	Expires int64 `json:"expires,omitempty"`

	Call *CallHistory `json:"call,omitempty"` // of a call
}

// CallHistory is a call that ended, as one side's history has it. The item's
// From is the caller.
type CallHistory struct {
	Call       string  `json:"call"`
	Media      []Media `json:"media"`
	Reason     Reason  `json:"reason"`
	Answered   bool    `json:"answered"`
	DurationMS int64   `json:"duration_ms,omitempty"`
}

// MailboxAck tells that every item up to and including Seq is safely with the
// device. The server removes them.
type MailboxAck struct {
	Seq uint64 `json:"seq"`
}

// MailboxDrained marks the end of the backlog: all up to Seq, 0 for an empty
// mailbox, has been sent on this connection.
type MailboxDrained struct {
	Seq uint64 `json:"seq"`
	// N is that of the last item on the connection, 0 if there was none.
	N uint64 `json:"n,omitempty"`
	// Missed is since when something did not fit into the mailbox and is not there,
	// as Unix milliseconds; absent if nothing is missing. Another device of the
	// account has it.
	Missed int64 `json:"missed,omitempty"`
}

// Typing tells that somebody is writing. It is never stored. The client gives
// To, the server From.
type Typing struct {
	To   string       `json:"to,omitempty"`
	From *e164.Number `json:"from,omitempty"`
}

func (*MessageSend) Type() Type    { return TypeMessageSend }
func (*MessageRead) Type() Type    { return TypeMessageRead }
func (*DevicesGet) Type() Type     { return TypeDevicesGet }
func (*KeysSet) Type() Type        { return TypeKeysSet }
func (*MailboxItem) Type() Type    { return TypeMailboxItem }
func (*MailboxAck) Type() Type     { return TypeMailboxAck }
func (*MailboxDrained) Type() Type { return TypeMailboxDrained }
func (*Typing) Type() Type         { return TypeTyping }

func (m *MessageSend) Validate() error {
	c := check{}
	c.id("id", m.ID)
	c.text("to", m.To, 1, e164.MaxInput)
	c.text("type", m.ContentType, 0, 128)
	c.text("body", m.Body, 0, MaxMessage)
	c.that("body", (m.Body == "") == (len(m.Payloads) > 0), "is missing, or given beside payloads")
	c.payloads("payloads", m.Payloads)
	c.payloads("own_payloads", m.OwnPayloads)
	c.that("own_payloads", len(m.OwnPayloads) == 0 || len(m.Payloads) > 0, "are given without payloads")
	if m.ExpiresMS != 0 {
		c.number("expires_ms", m.ExpiresMS, MinExpiry, MaxExpiry)
	}
	return c.err()
}

func (c *check) payloads(field string, all []Payload) {
	c.count(field, len(all), 0, MaxPayloads)
	for i, p := range all {
		c.number(field+".device", int64(p.Device), 1, math.MaxUint32)
		c.text(field+".body", p.Body, 1, MaxMessage)
		c.that(field, !slices.ContainsFunc(all[:i], func(o Payload) bool { return o.Device == p.Device }), "names a device twice")
	}
}

func (m *DevicesGet) Validate() error {
	c := check{}
	c.text("number", m.Number, 1, e164.MaxInput)
	return c.err()
}

func (m *KeysSet) Validate() error {
	c := check{}
	c.text("keys", m.Keys, 0, MaxKeys)
	return c.err()
}

func (m *MessageRead) Validate() error {
	c := check{}
	c.text("to", m.To, 1, e164.MaxInput)
	c.id("id", m.ID)
	return c.err()
}

func (m *MailboxItem) Validate() error {
	c := check{}
	c.number("seq", int64(m.Seq), 1, math.MaxInt64)
	c.text("id", m.ID, 1, MaxID)
	return c.err()
}

func (m *MailboxAck) Validate() error {
	c := check{}
	c.number("seq", int64(m.Seq), 1, math.MaxInt64)
	return c.err()
}

func (*MailboxDrained) Validate() error { return nil }

func (m *Typing) Validate() error {
	c := check{}
	c.text("to", m.To, 0, e164.MaxInput)
	c.that("to", m.To != "" || m.From != nil, "is missing")
	return c.err()
}
