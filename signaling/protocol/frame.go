package protocol

import (
	"bytes"
	"encoding/json"
	"fmt"
	"unicode/utf8"
)

// MaxFrame is the largest frame in bytes that either side accepts. It bounds
// the memory that one hostile frame can cost and leaves room for an offer with
// its candidates.
const MaxFrame = 64 << 10

// MaxID is the longest id in bytes that a client may choose: of a request, a
// call or a message.
const MaxID = 64

// Frame is the envelope around every message, a JSON object in one text frame.
//
//	{"t":"call.invite","id":"7","d":{…}}    a client asks
//	{"t":"ok","re":"7","d":{…}}             the server answers
//	{"t":"err","re":"7","d":{"code":…}}     or refuses
//	{"t":"call.ended","s":12,"d":{…}}       the server tells, reliably
//	{"t":"ack","a":12}                      the client has all up to 12
type Frame struct {
	T Type `json:"t"`
	// ID names a request; the answer carries it in Re. A client frame without
	// one gets no answer, not even when it fails, unless it cannot be read.
	ID string `json:"id,omitempty"`
	Re string `json:"re,omitempty"`
	// S numbers reliable server frames from 1, without gaps, in a session.
	S uint64 `json:"s,omitempty"`
	// A acknowledges every reliable frame up to and including A. It may ride on
	// any client frame.
	A uint64 `json:"a,omitempty"`
	// D is the message. Absent means {}.
	D json.RawMessage `json:"d,omitempty"`
}

// Body is a message: the D of a [Frame]. The set is closed; [Catalog] lists it.
type Body interface {
	// Type is the T of the frame that carries the message.
	Type() Type
	// Validate reports what in the message breaks the protocol, as an [*Error]
	// with code [CodeInvalid] that names the field and never holds its value.
	Validate() error
}

// DecodeFrame reads an envelope. It does not look at D. The error is an
// [*Error] with code [CodeMalformed].
func DecodeFrame(b []byte) (Frame, error) {
	if len(b) > MaxFrame {
		return Frame{}, NewError(CodeTooLarge, "frame of more than %d bytes", MaxFrame)
	}
	var f Frame
	// The decoder would put other characters in place of bytes that are none.
	if !utf8.Valid(b) || json.Unmarshal(b, &f) != nil {
		return Frame{}, NewError(CodeMalformed, "frame is not a JSON object of this protocol")
	}
	switch {
	case f.T == "":
		return Frame{}, NewError(CodeMalformed, "frame has no type")
	case len(f.T) > MaxID, len(f.ID) > MaxID, len(f.Re) > MaxID:
		return Frame{}, NewError(CodeMalformed, "type or id of more than %d bytes", MaxID)
	}
	return f, nil
}

// Decode reads f's message, which must be one that from sends. Unknown fields
// are ignored, so that a newer peer is understood. The error is an [*Error]:
// [CodeUnsupported] for a type that from does not send, [CodeMalformed] for D
// of another shape, [CodeInvalid] for a field with a value that cannot be.
func Decode(f Frame, from Origin) (Body, error) {
	spec, ok := byType[f.T]
	if !ok || spec.From&from == 0 {
		return nil, NewError(CodeUnsupported, "no such message from the %s", from)
	}
	b := spec.New()
	if err := decodeInto(f.D, b); err != nil {
		return nil, err
	}
	if err := b.Validate(); err != nil {
		return nil, err
	}
	return b, nil
}

// DecodeReply reads the D of an ok frame into v, one of the reply structs that
// [Spec.Reply] names.
func DecodeReply(f Frame, v any) error { return decodeInto(f.D, v) }

func decodeInto(d json.RawMessage, v any) error {
	if len(d) == 0 || bytes.Equal(d, []byte("null")) {
		d = []byte("{}")
	}
	if err := json.Unmarshal(d, v); err != nil {
		return NewError(CodeMalformed, "%s", fieldOf(err))
	}
	return nil
}

// fieldOf says where decoding failed without repeating what the peer sent.
func fieldOf(err error) string {
	if te, ok := err.(*json.UnmarshalTypeError); ok && te.Field != "" {
		return fmt.Sprintf("field %q is not a %s", te.Field, te.Type)
	}
	return "message is not what its type says"
}

// Encode writes the frame of b. The id, s and a fields of f are kept; T and D
// are set from b.
func Encode(f Frame, b Body) ([]byte, error) {
	d, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", b.Type(), err)
	}
	f.T, f.D = b.Type(), d
	if string(d) == "{}" {
		f.D = nil
	}
	return json.Marshal(f)
}

// EncodeReply writes the ok frame that answers the request re; v is the reply,
// or nil for none.
func EncodeReply(re string, v any) ([]byte, error) {
	f := Frame{T: TypeOK, Re: re}
	if v != nil {
		d, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode reply: %w", err)
		}
		f.D = d
	}
	return json.Marshal(f)
}
