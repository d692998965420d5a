package protocol

import (
	"fmt"

	"switchboard/directory/e164"
)

const (
	// MaxSubscribed is how many numbers one presence.subscribe may name.
	MaxSubscribed = 100
	// MaxContacts is how many numbers one contacts.sync may name.
	MaxContacts = 500
	// MaxContactBytes bounds all numbers of one contacts.sync together, so that
	// the answer, which repeats them, fits into a frame.
	MaxContactBytes = 20 << 10
)

// PresenceGet asks whether a number is there.
type PresenceGet struct {
	Number string `json:"number"`
}

// PresenceSubscribe asks whether numbers are there, and to be told when that
// changes, for as long as the session lives. A number that is subscribed to
// already counts once.
type PresenceSubscribe struct {
	// Numbers may be written in any way, as in [CallInvite.To]; 1 to
	// [MaxSubscribed].
	Numbers []string `json:"numbers"`
}

// PresenceUnsubscribe ends subscriptions; without numbers, all of them.
type PresenceUnsubscribe struct {
	Numbers []string `json:"numbers,omitempty"`
}

// Presences answers a subscription, in the order of its numbers.
type Presences struct {
	Presences []Presence `json:"presences"`
}

// Presence says whether any device of an account is connected, and if not,
// about when the last one was, as Unix milliseconds; 0 if that is not known or
// not for the asker.
type Presence struct {
	Number   e164.Number `json:"number"`
	Online   bool        `json:"online"`
	LastSeen int64       `json:"last_seen,omitempty"`
}

// Audience says who may know something.
type Audience string

const (
	Everyone Audience = "everyone"
	Contacts Audience = "contacts" // those whom the owner has as contacts
	Nobody   Audience = "nobody"
)

// Settings are an account's, the same on all of its devices. From the server
// every field is set.
type Settings struct {
	// LastSeen is who sees whether the account is online, and when it was.
	LastSeen Audience `json:"last_seen,omitempty"`
	// Discoverable is who finds the account by contacts.sync: everyone or nobody.
	Discoverable Audience `json:"discoverable,omitempty"`
	// ReadReceipts is who learns when a text has been read, everyone or nobody.
	// Who tells nobody is told by nobody.
	ReadReceipts Audience `json:"read_receipts,omitempty"`
	// Relayed is with whom calls go through relays alone, so that he does not learn
	// the account's addresses.
	Relayed Relayed `json:"relayed,omitempty"`
}

// Relayed says with whom an account's calls go through relays alone.
type Relayed string

const (
	RelayedNobody    Relayed = "nobody"
	RelayedStrangers Relayed = "strangers" // until the call is answered, with those who are not contacts
	RelayedEveryone  Relayed = "everyone"  // in the whole call
)

// SettingsGet asks for the account's settings.
type SettingsGet struct{}

// SettingsSet changes those of the account's settings that it holds.
type SettingsSet Settings

// SettingsChanged tells a device what the account's settings are since another
// of its devices has set them.
type SettingsChanged Settings

// ContactsSync tells whom the account knows and asks which of them can be
// called.
type ContactsSync struct {
	// Numbers may be written in any way; 1 to [MaxContacts], fewer if they are
	// long, see [MaxContactBytes]. With Replace there may be none.
	Numbers []string `json:"numbers,omitzero"`
	// Replace makes them all that the account knows; else they are added.
	Replace bool `json:"replace,omitempty"`
}

// ContactsFound answers a contacts.sync.
type ContactsFound struct {
	// Contacts has one entry a number, in the order of the request.
	Contacts []Contact `json:"contacts"`
}

// Contact is what is known of one number.
type Contact struct {
	// Given is the number as the request has it.
	Given string `json:"given"`
	// Number is absent if Given is no number.
	Number e164.Number `json:"number,omitzero"`
	Is     ContactIs   `json:"is"`
}

// ContactIs says whether a contact can be called.
type ContactIs string

// All words have the same length, so that the size of an answer does not tell
// who listens in how many there are.
const (
	ContactHere ContactIs = "here" // somebody has the number and lets himself be found
	ContactNone ContactIs = "none" // nobody has, or he does not
	ContactBad  ContactIs = "junk" // it is no number
)

// ContactsRemove takes numbers from those that the account knows.
type ContactsRemove struct {
	Numbers []string `json:"numbers"`
}

// BlockAdd keeps a number from reaching the account. Its owner is not told: his
// calls ring and are not answered, his texts are stored and never read.
type BlockAdd struct {
	Number string `json:"number"`
}

// BlockRemove ends a block.
type BlockRemove struct {
	Number string `json:"number"`
}

// BlockList asks for the numbers that the account blocks.
type BlockList struct{}

// Blocks lists the numbers that the account blocks.
type Blocks struct {
	Numbers []e164.Number `json:"numbers"`
}

func (*PresenceGet) Type() Type         { return TypePresenceGet }
func (*PresenceSubscribe) Type() Type   { return TypePresenceSubscribe }
func (*PresenceUnsubscribe) Type() Type { return TypePresenceUnsubscribe }
func (*Presence) Type() Type            { return TypePresence }
func (*SettingsGet) Type() Type         { return TypeSettingsGet }
func (*SettingsSet) Type() Type         { return TypeSettingsSet }
func (*SettingsChanged) Type() Type     { return TypeSettings }
func (*ContactsSync) Type() Type        { return TypeContactsSync }
func (*ContactsRemove) Type() Type      { return TypeContactsRemove }
func (*BlockAdd) Type() Type            { return TypeBlockAdd }
func (*BlockRemove) Type() Type         { return TypeBlockRemove }
func (*BlockList) Type() Type           { return TypeBlockList }

func (m *PresenceGet) Validate() error {
	c := check{}
	c.text("number", m.Number, 1, e164.MaxInput)
	return c.err()
}

func (m *PresenceSubscribe) Validate() error {
	c := check{}
	c.numbers("numbers", m.Numbers, 1, MaxSubscribed)
	return c.err()
}

func (m *PresenceUnsubscribe) Validate() error {
	c := check{}
	c.numbers("numbers", m.Numbers, 0, MaxSubscribed)
	return c.err()
}

func (*Presence) Validate() error        { return nil }
func (*SettingsGet) Validate() error     { return nil }
func (*SettingsChanged) Validate() error { return nil }

func (m *SettingsSet) Validate() error {
	c := check{}
	c.word("last_seen", string(m.LastSeen), "", string(Everyone), string(Contacts), string(Nobody))
	c.word("discoverable", string(m.Discoverable), "", string(Everyone), string(Nobody))
	c.word("read_receipts", string(m.ReadReceipts), "", string(Everyone), string(Nobody))
	c.word("relayed", string(m.Relayed), "", string(RelayedNobody), string(RelayedStrangers), string(RelayedEveryone))
	return c.err()
}

func (m *ContactsSync) Validate() error {
	c := check{}
	least := 1
	if m.Replace {
		least = 0
	}
	c.contacts("numbers", m.Numbers, least)
	return c.err()
}

func (m *ContactsRemove) Validate() error {
	c := check{}
	c.contacts("numbers", m.Numbers, 1)
	return c.err()
}

func (m *BlockAdd) Validate() error {
	c := check{}
	c.text("number", m.Number, 1, e164.MaxInput)
	return c.err()
}

func (m *BlockRemove) Validate() error {
	c := check{}
	c.text("number", m.Number, 1, e164.MaxInput)
	return c.err()
}

func (*BlockList) Validate() error { return nil }

func (c *check) numbers(field string, all []string, least, most int) {
	c.count(field, len(all), least, most)
	for _, n := range all {
		c.text(field, n, 1, e164.MaxInput)
	}
}

func (c *check) contacts(field string, all []string, least int) {
	c.numbers(field, all, least, MaxContacts)
	bytes := 0
	for _, n := range all {
		bytes += len(n)
	}
	c.that(field, bytes <= MaxContactBytes, fmt.Sprintf("has more than %d bytes", MaxContactBytes))
}
