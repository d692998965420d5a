package directory

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
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
	// ErrUnavailable says that NATS is away or too slow. Whatever was asked may
	// or may not have happened.
	ErrUnavailable = errors.New("directory is unavailable")
)

// RecordError says what is wrong with a stored record. The record is left as
// it is.
type RecordError struct {
	Record string // account, device, binding, lease
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
	_, err := accountEncoding.DecodeString(string(a))
	return err == nil
}

// Shard is the logical shard of the account, from 0 to 63, fixed for ever.
func (a Account) Shard() int {
	b, err := accountEncoding.DecodeString(string(a))
	if err != nil || len(b) != 8 {
		return 0
	}
	return int(binary.BigEndian.Uint64(b) >> 58)
}

// recordVersion is the version of the records that this code writes.
const recordVersion = 1

// AccountRecord is an account: who owns a number.
type AccountRecord struct {
	V          int         `json:"v"`
	Account    Account     `json:"account"`
	Number     e164.Number `json:"number"`
	Created    time.Time   `json:"created"`
	LastDevice Device      `json:"last_device"` // the highest name ever given
}

// DeviceRecord is a device of an account.
type DeviceRecord struct {
	V       int        `json:"v"`
	Account Account    `json:"account"`
	Device  Device     `json:"device"`
	Name    string     `json:"name"` // what people call it
	Created time.Time  `json:"created"`
	Token   TokenState `json:"token"`
	// External is the device's name in an identity system of the operator's, ""
	// if it registered with a code.
	External string `json:"external,omitempty"`
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
	// Fence is the revision of the record; it is not stored in it.
	Fence uint64 `json:"-"`
}

// Presence says whether any device of an account is connected.
type Presence struct {
	Online   bool
	LastSeen time.Time // when the last device left; zero if that is not known
}

// Lease is what a node tells of itself.
type Lease struct {
	V      int    `json:"v"`
	Node   string `json:"node"`
	Region string `json:"region"`
}

// decode reads a record and checks its version.
func decode(record string, data []byte, v any) error {
	var head struct {
		V *int `json:"v"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return &RecordError{record, "", "is not a JSON object with a version"}
	}
	switch {
	case head.V == nil:
		return &RecordError{record, "v", "is missing"}
	case *head.V > recordVersion:
		return &RecordError{record, "v", fmt.Sprintf("is %d, newer than the %d that this program knows", *head.V, recordVersion)}
	case *head.V < 1:
		return &RecordError{record, "v", "is not positive"}
	}
	if err := json.Unmarshal(data, v); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return &RecordError{record, te.Field, "is not a " + te.Type.String()}
		}
		var ne *e164.Error
		if errors.As(err, &ne) {
			return &RecordError{record, "number", "is no number: " + string(ne.Reason)}
		}
		return &RecordError{record, "", "cannot be read"}
	}
	return nil
}

func decodeAccount(data []byte) (AccountRecord, error) {
	var r AccountRecord
	if err := decode("account", data, &r); err != nil {
		return AccountRecord{}, err
	}
	switch {
	case !r.Account.Valid():
		return AccountRecord{}, &RecordError{"account", "account", "is not an account"}
	case r.Number.IsZero():
		return AccountRecord{}, &RecordError{"account", "number", "is missing"}
	}
	return r, nil
}

func decodeDevice(data []byte) (DeviceRecord, error) {
	var r DeviceRecord
	if err := decode("device", data, &r); err != nil {
		return DeviceRecord{}, err
	}
	switch {
	case !r.Account.Valid():
		return DeviceRecord{}, &RecordError{"device", "account", "is not an account"}
	case r.Device == 0:
		return DeviceRecord{}, &RecordError{"device", "device", "is missing"}
	}
	return r, nil
}

func decodeBinding(data []byte) (Binding, error) {
	var b Binding
	if err := decode("binding", data, &b); err != nil {
		return Binding{}, err
	}
	switch {
	case !b.Account.Valid():
		return Binding{}, &RecordError{"binding", "account", "is not an account"}
	case b.Device == 0:
		return Binding{}, &RecordError{"binding", "device", "is missing"}
	case b.Node == "":
		return Binding{}, &RecordError{"binding", "node", "is missing"}
	}
	return b, nil
}
