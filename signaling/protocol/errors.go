package protocol

import (
	"errors"
	"fmt"
	"time"
)

// Code is a stable word for what went wrong, for programs.
type Code string

// Category groups codes by what a client does about them.
type Category string

const (
	CategoryAuth     Category = "auth"      // get a new token
	CategoryRequest  Category = "request"   // the request is wrong and stays wrong
	CategoryState    Category = "state"     // right in another state
	CategoryLimit    Category = "limit"     // less, or later
	CategoryNotFound Category = "not_found" // there is no such thing
	CategoryServer   Category = "server"    // not the client's fault
)

const (
	CodeMalformed   Code = "malformed"       // not a frame or not the message that its type says
	CodeInvalid     Code = "invalid"         // a field has a value that cannot be; the sentence names it
	CodeUnsupported Code = "unsupported"     // no such message; the session goes on
	CodeTooLarge    Code = "too_large"       // more bytes than a limit in welcome allows
	CodeNumber      Code = "bad_number"      // the number cannot be; info.reason says why
	CodeConflict    Code = "conflict"        // the id, or the number, is in use for something else
	CodeSelf        Code = "self"            // one's own number cannot be called
	CodeToken       Code = "bad_token"       // the token is wrong, expired or revoked
	CodeCode        Code = "bad_code"        // the one-time code is wrong; info.attempts_left
	CodeCodeExpired Code = "code_expired"    // the one-time code is too old, used up or was never asked for
	CodeForbidden   Code = "forbidden"       // not for those who ask; info.reason says why
	CodeRate        Code = "rate_limited"    // too often; after_ms says when again
	CodeTooMany     Code = "too_many"        // as many of these as may be are there
	CodeMailboxFull Code = "mailbox_full"    // the receiver has too much waiting
	CodeDevices     Code = "devices_changed" // the payloads are not those of the devices there are; info says which
	CodeNotFound    Code = "not_found"       // no such number, device or verification
	CodeCallUnknown Code = "call_unknown"    // no such call, or not this device's
	CodeCallState   Code = "call_state"      // the call is in a state in which that cannot be
	CodeCallEnded   Code = "call_ended"      // the call is over; info.reason says why
	CodeUnavailable Code = "unavailable"     // something the server needs is away; retry
	CodeInternal    Code = "internal"        // a fault of the server; its log has the cause
)

// HTTPCodes are those that registration and the account answer with, by HTTP, and
// no session ever does.
var HTTPCodes = []Code{CodeCode, CodeCodeExpired, CodeForbidden}

// CodeSpec is what goes with a code.
type CodeSpec struct {
	Code     Code
	Category Category
	Retry    bool
	Status   int // of the HTTP answer, where it is one
}

// Codes lists every code.
var Codes = []CodeSpec{
	{CodeMalformed, CategoryRequest, false, 400},
	{CodeInvalid, CategoryRequest, false, 400},
	{CodeUnsupported, CategoryRequest, false, 404},
	{CodeTooLarge, CategoryRequest, false, 413},
	{CodeNumber, CategoryRequest, false, 422},
	{CodeConflict, CategoryRequest, false, 409},
	{CodeSelf, CategoryRequest, false, 422},
	{CodeToken, CategoryAuth, false, 401},
	{CodeCode, CategoryAuth, true, 403},
	{CodeCodeExpired, CategoryAuth, false, 403},
	{CodeForbidden, CategoryRequest, false, 403},
	{CodeRate, CategoryLimit, true, 429},
	{CodeTooMany, CategoryLimit, false, 409},
	{CodeMailboxFull, CategoryLimit, false, 507},
	{CodeDevices, CategoryState, false, 409},
	{CodeNotFound, CategoryNotFound, false, 404},
	{CodeCallUnknown, CategoryNotFound, false, 404},
	{CodeCallState, CategoryState, false, 409},
	{CodeCallEnded, CategoryState, false, 410},
	{CodeUnavailable, CategoryServer, true, 503},
	{CodeInternal, CategoryServer, true, 500},
}

func specOf(code Code) CodeSpec {
	for _, s := range Codes {
		if s.Code == code {
			return s
		}
	}
	return CodeSpec{code, CategoryServer, true, 500}
}

// Error is what a peer is told went wrong: the D of an err frame and, under
// "error", the body of an HTTP answer. Its sentence is for people, holds
// nothing of what the peer sent, and may change; the code may not.
type Error struct {
	Code     Code     `json:"code"`
	Category Category `json:"cat"`
	// Retry says that the same request may succeed later, after AfterMS
	// milliseconds if that is given.
	Retry   bool              `json:"retry"`
	AfterMS int64             `json:"after_ms,omitempty"`
	Message string            `json:"msg"`
	Info    map[string]string `json:"info,omitempty"`
}

// NewError makes the error of a code; category and retry come from [Codes].
func NewError(code Code, format string, args ...any) *Error {
	s := specOf(code)
	return &Error{Code: code, Category: s.Category, Retry: s.Retry, Message: fmt.Sprintf(format, args...)}
}

// After sets how long to wait before a retry.
func (e *Error) After(d time.Duration) *Error {
	e.AfterMS = max(d.Milliseconds(), 1)
	return e
}

// With adds a fact for programs.
func (e *Error) With(key, value string) *Error {
	if e.Info == nil {
		e.Info = map[string]string{}
	}
	e.Info[key] = value
	return e
}

// Status is the HTTP status of the error.
func (e *Error) Status() int { return specOf(e.Code).Status }

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Is makes errors.Is(err, &Error{Code: c}) true for any error of code c.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// CodeOf returns the code of err, or "" if it holds no [*Error].
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return ""
}

func (*Error) Type() Type { return TypeErr }

func (e *Error) Validate() error {
	c := check{}
	c.text("code", string(e.Code), 1, MaxID)
	return c.err()
}
