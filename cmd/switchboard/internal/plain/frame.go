package plain

import "encoding/json"

// A Frame is the envelope of section 2.
type Frame struct {
	T  string          `json:"t"`
	ID string          `json:"id,omitempty"`
	Re string          `json:"re,omitempty"`
	S  uint64          `json:"s,omitempty"`
	A  uint64          `json:"a,omitempty"`
	D  json.RawMessage `json:"d,omitempty"`
}

// An Error is the refusal of section 7.
type Error struct {
	Code    string
	Cat     string
	Retry   bool
	AfterMS int64 `json:"after_ms"`
	Msg     string
	Info    map[string]string
}

func (e *Error) Error() string { return e.Code + ": " + e.Msg }

// A Welcome is what this client needs of the first frame.
type Welcome struct {
	Session, Key, Resumed string
	HeartbeatMS           int64 `json:"heartbeat_ms"`
	Calls                 []struct{ Call, State, Role string }
}

// An Item is one of the mailbox's.
type Item struct {
	Seq, N             uint64
	Kind, ID, From, To string
	Type, Body         string
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only this package's and its tests' own values come here
	}
	return b
}
