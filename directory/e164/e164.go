// Package e164 holds phone numbers in their international form.
//
// A [Number] can only come from [Parse] or from decoding text that is already
// in E.164 form, so whoever holds one need not check it again. Numbers are
// private: a Number prints, logs and formats as its last three digits; the
// whole form is had by calling [Number.E164], a call that one can search for.
package e164

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nyaruka/phonenumbers"
)

// MaxInput is the longest text, in bytes, that [Parse] looks at. It is far
// more than any way of writing a number needs; it bounds what a hostile client
// can have parsed.
const MaxInput = 64

// Number is a valid phone number in E.164 form. The zero value is no number.
// Numbers are comparable and may be map keys. Do not put one inside a struct
// that is logged: encoders print it whole.
type Number struct{ s string }

// Reason says why text is not a number, as a stable word for programs.
type Reason string

const (
	NotANumber     Reason = "not_a_number"    // no digits, or letters that mean nothing
	UnknownRegion  Reason = "unknown_region"  // no + and no region to read it in, or a country code nobody has
	TooShort       Reason = "too_short"       // fewer digits than any number of the region, or no area code
	TooLong        Reason = "too_long"        // more digits than any number of the region
	NotAssignable  Reason = "not_assignable"  // right length, but no such number can exist
	NotE164        Reason = "not_e164"        // valid, but not written in E.164 form where that is asked
	ExtensionGiven Reason = "extension_given" // has an extension, which cannot be dialled
)

// Error tells why text could not be read as a number. It never holds the text.
type Error struct{ Reason Reason }

func (e *Error) Error() string {
	return fmt.Sprintf("phone number: %s", strings.ReplaceAll(string(e.Reason), "_", " "))
}

// Parse reads a number in any way of writing that libphonenumber accepts. A
// number without a leading + is read as dialled in region, an ISO 3166-1
// alpha-2 code in either case; region may be empty when the number has a +.
// One that its country has renumbered since is returned as it is now. The error is always an [*Error].
//
// It may be called concurrently. What has been read lately is remembered: people
// text the same few others, and libphonenumber takes tens of microseconds for each.
func Parse(text, region string) (Number, error) {
	if len(text) > MaxInput {
		return Number{}, &Error{TooLong}
	}
	written := writing{text, strings.ToUpper(region)}
	if n, ok := read.Get(written); ok {
		return n, nil
	}
	n, err := parse(written)
	if err == nil {
		read.Add(written, n)
	}
	return n, err
}

// writing is a way of writing a number, and where.
type writing struct{ text, region string }

// read is what has been read lately: at most some MB.
var read, _ = lru.New[writing, Number](1 << 14)

func parse(w writing) (Number, error) {
	p, err := phonenumbers.Parse(w.text, w.region)
	if err != nil {
		return Number{}, &Error{reasonOf(err)}
	}
	if p.GetExtension() != "" {
		return Number{}, &Error{ExtensionGiven}
	}
	s := phonenumbers.Format(p, phonenumbers.E164)
	if phonenumbers.IsValidNumber(p) {
		return Number{s}, nil
	}
	if now, ok := renumbered(s); ok {
		return Number{now}, nil
	}
	switch phonenumbers.IsPossibleNumberWithReason(p) {
	case phonenumbers.TOO_SHORT, phonenumbers.IS_POSSIBLE_LOCAL_ONLY:
		return Number{}, &Error{TooShort}
	case phonenumbers.TOO_LONG:
		return Number{}, &Error{TooLong}
	case phonenumbers.INVALID_COUNTRY_CODE:
		return Number{}, &Error{UnknownRegion}
	}
	return Number{}, &Error{NotAssignable}
}

func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, phonenumbers.ErrInvalidCountryCode):
		return UnknownRegion
	case errors.Is(err, phonenumbers.ErrTooShortAfterIDD), errors.Is(err, phonenumbers.ErrTooShortNSN):
		return TooShort
	case errors.Is(err, phonenumbers.ErrNumTooLong):
		return TooLong
	default:
		return NotANumber
	}
}

// E164 returns the whole number, such as +14155550101. Never log it.
func (n Number) E164() string { return n.s }

// IsZero reports whether n is no number.
func (n Number) IsZero() bool { return n.s == "" }

// Region returns the ISO 3166-1 alpha-2 code of the number's country, or ""
// where a number belongs to none, as satellite numbers do.
func (n Number) Region() string {
	p, err := phonenumbers.Parse(n.s, "")
	if err != nil {
		return ""
	}
	if r := phonenumbers.GetRegionCodeForNumber(p); r != "001" && r != "ZZ" {
		return r
	}
	return ""
}

// National returns the number as people of its country write it, for showing
// to its owner. Never log it.
func (n Number) National() string {
	p, err := phonenumbers.Parse(n.s, "")
	if err != nil {
		return ""
	}
	return phonenumbers.Format(p, phonenumbers.NATIONAL)
}

// String returns the last three digits, as in …101, which is all that a log
// may show.
func (n Number) String() string {
	if n.s == "" {
		return ""
	}
	return "…" + n.s[len(n.s)-3:]
}

// GoString keeps %#v from printing the number.
func (n Number) GoString() string { return "e164.Number(" + n.String() + ")" }

// LogValue keeps slog from using MarshalText.
func (n Number) LogValue() slog.Value { return slog.StringValue(n.String()) }

// MarshalText returns the whole number: it is for the wire and for storage.
func (n Number) MarshalText() ([]byte, error) { return []byte(n.s), nil }

// known are numbers that have been read from text before. Reading one costs
// some twenty thousand instructions, and every record of a call holds two. It
// is emptied when it is full.
var known = struct {
	sync.RWMutex
	m map[string]struct{}
}{m: map[string]struct{}{}}

const maxKnown = 50_000

// UnmarshalText accepts a number in E.164 form, or nothing for no number. One
// that its country has renumbered since stays as it is: an account may be kept
// under it. See [Alternates].
func (n *Number) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*n = Number{}
		return nil
	}
	known.RLock()
	_, ok := known.m[string(b)]
	known.RUnlock()
	if ok {
		*n = Number{string(b)}
		return nil
	}
	m, err := Parse(string(b), "")
	if err != nil {
		return err
	}
	if m.s != string(b) {
		if now, ok := renumbered(string(b)); !ok || now != m.s {
			return &Error{NotE164}
		}
		m.s = string(b)
	}
	known.Lock()
	defer known.Unlock()
	if len(known.m) >= maxKnown {
		clear(known.m)
	}
	known.m[m.s] = struct{}{}
	*n = m
	return nil
}
