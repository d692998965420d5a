package mailbox

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
)

var (
	// ErrFull tells that a mailbox holds as many items as it may.
	ErrFull = errors.New("mailbox is full")
	// ErrConflict tells that another item lies under the same ID.
	ErrConflict = errors.New("mailbox has another item of that id")
	// ErrTooLarge tells that an item is larger than [Config.ItemBytes].
	ErrTooLarge = errors.New("item is too large")
	// ErrUnavailable tells that NATS is away, or did not answer in time. The
	// operation may have happened; it may be repeated with the same IDs.
	ErrUnavailable = errors.New("mailbox is unavailable")
	// ErrInvalid tells that the caller named a box or an entry that cannot be.
	ErrInvalid = errors.New("invalid mailbox request")
)

// maxSum bounds an entry's sum, in bytes.
const maxSum = 64

// maxName bounds accounts and IDs, in bytes: they stand in subjects and headers.
const maxName = 256

// Box names the mailbox of one device.
type Box struct {
	// Account is the account's key: 1 to 256 of a-z A-Z 0-9 - and _. It is
	// never a phone number, because it stands in subjects.
	Account string
	Device  uint32
}

// Item is one stored item.
type Item struct {
	// Seq is the item's place. It grows within a box, with gaps, and is never
	// used twice.
	Seq  uint64
	Data []byte
	// Time is when it was stored, by the clock of the server that stored it.
	Time time.Time
}

// Entry is one item to store.
type Entry struct {
	Box Box
	// ID makes a repeat the same item: unique per box, so it must name the
	// sender, too. 1 to 256 bytes of any kind. Only its hash is kept.
	ID   string
	Data []byte
	// TTL is the life of the item. It counts in whole seconds, rounded up.
	// 0, and anything above the mailbox's age, means the mailbox's age.
	TTL time.Duration
	// Sum stands for what is in the item, unless it is empty: a repeat of the ID
	// with another Sum is [ErrConflict]. At most 64 letters, digits, - and _.
	Sum string
}

// EntryError tells which entry of a [Store.Put] was not stored, and why.
type EntryError struct {
	Index int // in the entries of Put
	Err   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("entry %d: %v", e.Index, e.Err) }
func (e *EntryError) Unwrap() error { return e.Err }

// Check tells what is wrong with b, as [ErrInvalid], or nil.
func (b Box) Check() error {
	if len(b.Account) == 0 || len(b.Account) > maxName {
		return fmt.Errorf("%w: account has %d bytes", ErrInvalid, len(b.Account))
	}
	if !plain(b.Account, maxName) {
		return fmt.Errorf("%w: account has a character outside a-z A-Z 0-9 - _", ErrInvalid)
	}
	return nil
}

// plain reports whether s is short and has nothing that a subject or a header
// could not have.
func plain(s string, most int) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return len(s) <= most
}

// Check tells what is wrong with e under c, as [ErrInvalid] or [ErrTooLarge],
// or nil.
func (e Entry) Check(c Config) error {
	if err := e.Box.Check(); err != nil {
		return err
	}
	switch {
	case len(e.ID) == 0 || len(e.ID) > maxName:
		return fmt.Errorf("%w: id has %d bytes", ErrInvalid, len(e.ID))
	case e.TTL < 0:
		return fmt.Errorf("%w: ttl is negative", ErrInvalid)
	case !plain(e.Sum, maxSum):
		return fmt.Errorf("%w: sum is too long, or has a character outside a-z A-Z 0-9 - _", ErrInvalid)
	case len(e.Data) > c.ItemBytes:
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(e.Data), c.ItemBytes)
	}
	return nil
}

// Life is how long e is kept under c: a whole number of seconds, or 0 when the
// mailbox's age alone decides.
func (e Entry) Life(c Config) time.Duration {
	if e.TTL <= 0 || e.TTL >= c.Age {
		return 0
	}
	return (e.TTL + time.Second - 1).Truncate(time.Second)
}

// messageID is the key by which JetStream knows a repeat. Its length does not
// depend on the ID's, because the server keeps every one for two minutes.
func (e Entry) messageID() string {
	sum := sha256.Sum256([]byte(e.Box.Account + "." + strconv.FormatUint(uint64(e.Box.Device), 10) + "." + e.ID))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// next is the sequence number after seq; the last one has itself.
func next(seq uint64) uint64 {
	if seq == math.MaxUint64 {
		return seq
	}
	return seq + 1
}
