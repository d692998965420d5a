package signaling

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// texts knows what was sent lately from here under which id: mailboxes know it of
// what lies in them, but not once it has been fetched, nor of one that was sent to
// somebody else.
type texts struct{ of *lru.Cache[textKey, sent] }

type textKey struct {
	sender directory.Account
	id     string
}

// sent is what is known of a text that is stored.
type sent struct {
	digest
	time int64 // Unix milliseconds
}

// digest stands for what a text is.
type digest struct {
	text    string // to whom, of which type, its body and life: what no repeat may change
	devices string // those that have payloads: others may have come since, for which a repeat has more
	all     string // all of it
}

// maxTexts is how many texts a node remembers.
const maxTexts = 1 << 15

func newTexts() *texts {
	of, _ := lru.New[textKey, sent](maxTexts) // fails for sizes below 1
	return &texts{of}
}

func digestOf(to e164.Number, m *protocol.MessageSend) digest {
	d := digest{text: sumOf(to.E164(), cmp.Or(m.ContentType, "text/plain"), m.Body, strconv.FormatInt(m.ExpiresMS, 10))}
	if d.all = d.text; len(m.Payloads) == 0 {
		return d
	}
	var devices, bodies []string
	for _, list := range [][]protocol.Payload{m.Payloads, m.OwnPayloads} {
		devices, bodies = append(devices, "of"), append(bodies, "of")
		for _, p := range slices.SortedFunc(slices.Values(list), func(x, y protocol.Payload) int { return cmp.Compare(x.Device, y.Device) }) {
			devices, bodies = append(devices, strconv.Itoa(int(p.Device))), append(bodies, p.Body)
		}
	}
	d.devices = sumOf(devices...)
	d.all = sumOf(append(bodies, d.text, d.devices)...)
	return d
}

// at is what d is in a mailbox that gets a body of its own, or the one of all.
func (d digest) at(payload string) string {
	if payload == "" {
		return d.text
	}
	return sumOf(d.text, payload)
}

func sumOf(parts ...string) string {
	h := sha256.New()
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		h.Write([]byte(part))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15])
}

// repeated returns when a text was stored, if it is a repeat of one that this node
// knows, or 0 if it is none or must be stored for more devices. Another text under
// the same id is an error.
func (t *texts) repeated(sender directory.Account, id string, d digest) (time int64, err error) {
	first, known := t.of.Get(textKey{sender, id})
	switch {
	case !known:
		return 0, nil
	case first.all == d.all:
		return first.time, nil
	case first.text != d.text, first.devices == d.devices:
		return 0, errOtherText()
	}
	return 0, nil
}

// stored notes that a text is.
func (t *texts) stored(sender directory.Account, id string, d digest, time int64) {
	t.of.Add(textKey{sender, id}, sent{d, time})
}

// lifeOf is how long a text is kept for a device, 0 for as long as may be.
func lifeOf(m *protocol.MessageSend) time.Duration {
	return time.Duration(m.ExpiresMS) * time.Millisecond
}

func errOtherText() *protocol.Error {
	return protocol.NewError(protocol.CodeConflict, "another text was sent under this id")
}
