package directory

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"

	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"switchboard/directory/e164"
)

var (
	// ErrNotFound says that there is no such number, account or device.
	ErrNotFound = errors.New("not in the directory")
	// ErrConflict says that others changed a record faster, every time.
	ErrConflict = errors.New("record changes too fast")
	// ErrLeaseLost says that the node counts as dead for the others.
	ErrLeaseLost = errors.New("lease of the node is lost")
	// ErrGone says that nobody answers for a node any more.
	ErrGone = errors.New("node is gone")
	// ErrNumberTaken says that a number has another account.
	ErrNumberTaken = errors.New("number has another account")
	// ErrUnavailable says that NATS is away or too slow. Whatever was asked may
	// or may not have happened.
	ErrUnavailable = errors.New("directory is unavailable")
)

// RecordError says what is wrong with a stored record. The record is left as
// it is.
type RecordError struct {
	Record string // number, account, device, binding, seen, people, settings
	Field  string // as in JSON; empty if it is no JSON at all
	Why    string
}

func (e *RecordError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("%s record: %s", e.Record, e.Why)
	}
	return fmt.Sprintf("%s record: field %q %s", e.Record, e.Field, e.Why)
}

// Account names an account: 13 letters and digits, a random 64-bit number in
// base32hex.
type Account string

// Device names a device of an account: 1, 2, 3, …; never used twice.
type Device uint32

var accountEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newAccount returns a random account.
func newAccount() Account {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return Account(accountEncoding.EncodeToString(b[:]))
}

// Valid reports whether a has the form of an account. Whatever comes from
// outside must, before it becomes part of a key.
func (a Account) Valid() bool {
	if len(a) != 13 {
		return false
	}
	// Letter by letter: the decoder skips line ends, which a key must not have.
	for _, c := range []byte(a) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'v') {
			return false
		}
	}
	return true
}

// Shard is the logical shard of the account, from 0 to 63, fixed for ever. It
// is 0 for what is no account.
func (a Account) Shard() int {
	b, err := accountEncoding.DecodeString(string(a))
	if err != nil || len(b) != 8 {
		return 0
	}
	return int(binary.BigEndian.Uint64(b) >> 58)
}

// recordVersion is the version of the records that this code writes. It grows
// when a program that does not know the new version would misread a record; a
// field that may be ignored comes without one, and programs that do not know
// it keep it.
const recordVersion = 1

// AccountRecord is an account: who owns a number.
type AccountRecord struct {
	V          int         `json:"v"`
	Account    Account     `json:"account"`
	Number     e164.Number `json:"number"`
	Created    time.Time   `json:"created"`
	LastDevice Device      `json:"last_device"` // the highest name ever given
	// External leads from what an identity system of the operator's calls a
	// device to the device, for those that have such a name.
	External map[string]Device `json:"external,omitempty"`
	Settings Settings          `json:"settings,omitzero"`
	// Moving is the number that the account is about to have, and Former are those
	// that it had and that may still lead to it: see [Directory.MoveNumber].
	Moving e164.Number   `json:"moving,omitzero"`
	Former []e164.Number `json:"former,omitempty"`
	// Deleted is when the deletion of the account began. Nobody else sees a record
	// that has it.
	Deleted time.Time `json:"deleted,omitzero"`
}

// unfinished reports whether a change of number or a deletion is to be carried on.
func (r AccountRecord) unfinished() bool {
	return !r.Deleted.IsZero() || !r.Moving.IsZero() || len(r.Former) > 0
}

// LogValue keeps the number out of logs.
func (r AccountRecord) LogValue() slog.Value { return slog.StringValue(string(r.Account)) }

// numberRecord is what a number leads to.
type numberRecord struct {
	V       int       `json:"v"`
	Account Account   `json:"account,omitempty"` // empty in a tombstone
	Created time.Time `json:"created,omitzero"`  // when the account got the number
	Hidden  bool      `json:"hidden,omitempty"`  // as the account's settings say: not to be looked up
	Gone    time.Time `json:"gone,omitzero"`     // when the number lost its account: a tombstone
}

// peopleRecord is whom an account knows and blocks.
type peopleRecord struct {
	V        int           `json:"v"`
	Contacts marks         `json:"contacts,omitempty"`
	Blocks   []blockRecord `json:"blocks,omitempty"`
}

// blockRecord is somebody who is blocked: the number, and the account that had
// it then, so that a change of number does not help.
type blockRecord struct {
	Number  e164.Number `json:"number"`
	Account Account     `json:"account,omitempty"`
}

func (r *peopleRecord) unblock(n e164.Number) {
	r.Blocks = slices.DeleteFunc(slices.Clone(r.Blocks), func(b blockRecord) bool { return b.Number == n })
}

func (r *peopleRecord) blocks(peer Account, forms []e164.Number) bool {
	return slices.ContainsFunc(r.Blocks, func(b blockRecord) bool {
		return slices.Contains(forms, b.Number) || peer != "" && b.Account == peer
	})
}

// seenRecord says when the last device of an account left.
type seenRecord struct {
	V  int       `json:"v"`
	At time.Time `json:"at"`
}

// DeviceRecord is a device of an account.
type DeviceRecord struct {
	V       int        `json:"v"`
	Account Account    `json:"account"`
	Device  Device     `json:"device"`
	Name    string     `json:"name"` // what people call it
	Created time.Time  `json:"created"`
	Token   TokenState `json:"token"`
	// External is the device's name elsewhere, by which it is made only once: in
	// an identity system of the operator's, or the proof that it registered with.
	// Package auth gives it.
	External string `json:"external,omitempty"`
	// Seen is when the device was last known to be connected, a day or so behind.
	Seen time.Time `json:"seen,omitzero"`
	// Keys are what the device has published for those who encrypt for it.
	Keys string `json:"keys,omitempty"`
	// Push is how the device is woken, as package push has it. It is the device's
	// own secret.
	Push json.RawMessage `json:"push,omitempty"`
	// Missed is since when the device has missed what did not fit into its mailbox
	// and has not been told so; zero if it has missed nothing.
	Missed time.Time `json:"missed,omitzero"`
}

// TokenState says which tokens of a device are good. Only package auth gives it
// a meaning.
type TokenState struct {
	Generation uint64    `json:"generation"`
	Rotated    time.Time `json:"rotated,omitzero"` // when Generation began
}

// Binding is a connected device: a binding in the sense of SIP.
type Binding struct {
	V       int       `json:"v"`
	Account Account   `json:"account"`
	Device  Device    `json:"device"`
	Node    string    `json:"node"` // incarnation
	Conn    string    `json:"conn"` // the node's name for the connection
	Since   time.Time `json:"since"`
	// Rebound says that it was recorded again after the record had been lost, so
	// that the order of writes does not tell how new it is. See [Directory.Rebind].
	Rebound bool `json:"rebound,omitempty"`
	// Fence is the revision of the record; it is not stored in it.
	Fence uint64 `json:"-"`
}

// Presence says whether any device of an account is connected.
type Presence struct {
	Online   bool
	LastSeen time.Time // when the last device left; zero if that is not known
}
