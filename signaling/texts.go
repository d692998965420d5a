package signaling

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// texts knows what was sent lately from here under which id: mailboxes know it of
// what lies in them, but not once it has been fetched, nor of one that was sent to
// somebody else.
type texts struct{ of *lru.Cache[textKey, string] }

type textKey struct {
	sender directory.Account
	id     string
}

// maxTexts is how many texts a node remembers.
const maxTexts = 1 << 15

func newTexts() *texts {
	of, _ := lru.New[textKey, string](maxTexts) // fails for sizes below 1
	return &texts{of}
}

// sum stands for what a text is, and known for what was sent under its id, if that
// is known.
func (t *texts) sum(sender directory.Account, to e164.Number, m *protocol.MessageSend) (sum, known string) {
	h := sha256.New()
	for _, part := range []string{to.E164(), cmp.Or(m.ContentType, "text/plain"), m.Body} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part)))
		h.Write([]byte(part))
	}
	_ = binary.Write(h, binary.BigEndian, m.ExpiresMS)
	for _, list := range [][]protocol.Payload{m.Payloads, m.OwnPayloads} {
		_ = binary.Write(h, binary.BigEndian, uint64(len(list)))
		for _, p := range slices.SortedFunc(slices.Values(list), func(x, y protocol.Payload) int { return cmp.Compare(x.Device, y.Device) }) {
			_ = binary.Write(h, binary.BigEndian, []uint64{uint64(p.Device), uint64(len(p.Body))})
			h.Write([]byte(p.Body))
		}
	}
	known, _ = t.of.Get(textKey{sender, m.ID})
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:15]), known
}

// stored notes that a text is.
func (t *texts) stored(sender directory.Account, id, sum string) {
	t.of.Add(textKey{sender, id}, sum)
}

// lifeOf is how long a text is kept for a device, 0 for as long as may be.
func lifeOf(m *protocol.MessageSend) time.Duration {
	return time.Duration(m.ExpiresMS) * time.Millisecond
}

func errOtherText() *protocol.Error {
	return protocol.NewError(protocol.CodeConflict, "another text was sent under this id")
}
