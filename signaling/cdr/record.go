package cdr

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"switchboard/signaling/protocol"
)

// Version is the version of the record that this code writes.
const Version = 1

// Record is what operators may know of a call that is over.
type Record struct {
	V    int    `json:"v"`
	Call string `json:"call"` // the call's id
	// Region is the one where the caller's device was best served, "" if not known.
	Region string `json:"region,omitempty"`
	Caller Side   `json:"caller"`
	// Callee has no account if nobody has the number, and no device unless one has
	// answered.
	//
	// Nor has it an account if the callee blocks the caller: then no device of his
	// was told of the call, and a record that named him would say that he was
	// called. The times are those of a pretence, what the caller saw. KeptFrom is
	// the account that was spared. Operators may know; the caller never does, and
	// calls of the spared account do not list this one.
	Callee   Side             `json:"callee"`
	KeptFrom string           `json:"kept_from,omitempty"`
	Media    []protocol.Media `json:"media"`

	Created time.Time `json:"created"`
	// Milliseconds from Created; nil for what did not happen.
	RingingMS   *int64    `json:"ringing_ms,omitempty"`
	AnsweredMS  *int64    `json:"answered_ms,omitempty"`
	ConnectedMS *int64    `json:"connected_ms,omitempty"` // media on both sides
	Ended       time.Time `json:"ended"`
	TalkedMS    int64     `json:"talked_ms"` // from the answer to the end; 0 without one

	Reason protocol.Reason `json:"reason"`
	// EndedBy is the side that ended it, "" if the server did.
	EndedBy protocol.Role `json:"ended_by,omitempty"`
	Path    PathKind      `json:"path"`
	// RelayRestart: media was begun anew with relays alone, once.
	RelayRestart bool `json:"relay_restart,omitempty"`
	// Moves is how often media was to leave a relay that was drained or died.
	Moves int `json:"moves,omitempty"`
}

// Side is one side of a call.
type Side struct {
	Account string `json:"account,omitempty"`
	Device  uint32 `json:"device,omitempty"`
	// Path is the last that the side has reported, nil for none; Quality the same.
	Path    *protocol.Path `json:"path,omitempty"`
	Quality *Quality       `json:"quality,omitempty"`
	// FirstMediaMS is from the answer, as the side saw it, to the first media of the
	// other side; nil if it did not say.
	FirstMediaMS *int64 `json:"first_media_ms,omitempty"`
}

// Quality is how media of the other side came.
type Quality struct {
	Received int64   `json:"received"` // packets
	Loss     float64 `json:"loss"`     // share of packets, 0 to 1
	JitterMS int64   `json:"jitter_ms"`
	RTTMS    int64   `json:"rtt_ms"`
	// MOS is an estimate of how it sounded, 1 (bad) to 4.4; 0 if nothing came.
	MOS float64 `json:"mos,omitempty"`
}

// PathKind is how media went.
type PathKind string

// The kinds.
const (
	Direct  PathKind = "direct" // from one side to the other
	Relayed PathKind = "relay"  // through a relay on at least one side
	NoPath  PathKind = "none"   // neither side has reported a path
)

// PathKinds lists them.
var PathKinds = []PathKind{Direct, Relayed, NoPath}

// errRecord says that a stored record cannot be read.
var errRecord = errors.New("record of a call cannot be read")

func decode(data []byte) (r Record, err error) {
	if json.Unmarshal(data, &r) != nil {
		return r, errRecord
	}
	if r.V != Version {
		return r, fmt.Errorf("%w: field %q is %d, this node knows %d", errRecord, "v", r.V, Version)
	}
	return r, nil
}
