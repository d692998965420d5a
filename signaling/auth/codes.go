package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"time"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// Records keeps records with a life, shared by the nodes and changed by
// compare-and-set. Errors are those of package callstore, whose Store is one.
type Records interface {
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) (rev uint64, err error)
	Load(ctx context.Context, key string) (data []byte, rev uint64, err error)
	Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error)
}

const (
	// codeDigits is the length of a code: short enough to keep in mind, and
	// with the few attempts there are, long enough.
	codeDigits = 6
	// historyLife is how long a code counts against its number.
	historyLife = 24 * time.Hour
	// claimLife is how long a request that makes a device is waited for, before
	// another takes over. It is longer than any request takes.
	claimLife = requestTimeout + 10*time.Second
)

// codes issues one-time codes and judges them.
type codes struct {
	config  Config
	key     []byte // of the HMACs
	records Records
}

// mac is unambiguous in its parts.
func (c *codes) mac(parts ...string) []byte {
	m := hmac.New(sha256.New, c.key)
	for _, p := range parts {
		m.Write(binary.BigEndian.AppendUint32(nil, uint32(len(p))))
		m.Write([]byte(p))
	}
	return m.Sum(nil)
}

var keyEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

func (c *codes) recordKey(kind, of string) string {
	return kind + "-" + keyEncoding.EncodeToString(c.mac(kind, of)[:16])
}

func (c *codes) numberKey(n e164.Number) string { return c.recordKey("number", n.E164()) }

// verificationKey is that of a code for one purpose: for another, the code is not
// there.
func (c *codes) verificationKey(p Purpose, id string) string {
	return c.recordKey(verificationKinds[p], id)
}

var verificationKinds = map[Purpose]string{ToRegister: "verification", ToMove: "move", ToDelete: "delete"}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// history is the record of a number.
type history struct {
	Sent []time.Time `json:"sent"` // when codes were, of the last day, oldest first
}

// wait is how long until the number may have another code, 0 if it may now.
func (h history) wait(now time.Time, c Config) time.Duration {
	wait := time.Duration(0)
	atMost := func(n int, within time.Duration) {
		if len(h.Sent) >= n {
			wait = max(wait, h.Sent[len(h.Sent)-n].Add(within).Sub(now))
		}
	}
	atMost(1, c.CodeResend)
	atMost(c.CodesPerHour, time.Hour)
	atMost(2*c.CodesPerHour, historyLife)
	return wait
}

// add counts a code that is sent now and drops those of too long ago.
func (h history) add(now time.Time) history {
	var kept []time.Time
	for _, t := range h.Sent {
		if t.After(now) { // a clock was wrong; nobody waits for it
			t = now
		}
		if now.Sub(t) < historyLife {
			kept = append(kept, t)
		}
	}
	return history{append(kept, now)}
}

// issue makes a code for a number, and for an account that it is to be used for,
// if there is one yet. It returns how long until the number may have another, for
// whatever purpose. A number that has had enough of them gets a [*protocol.Error]
// that says when again.
func (c *codes) issue(ctx context.Context, p Purpose, n e164.Number, by directory.Account) (id, code string, again time.Duration, err error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	err = callstore.Change(ctx, c.records, c.numberKey(n), historyLife, func(old []byte) ([]byte, error) {
		h := history{}
		if err := decode(old, &h); err != nil {
			return nil, err
		}
		if wait := h.wait(now, c.config); wait > 0 {
			return nil, protocol.NewError(protocol.CodeRate, "a code was sent to this number a short while ago").After(wait)
		}
		h = h.add(now)
		again = h.wait(now, c.config)
		return json.Marshal(h)
	})
	if err != nil {
		return "", "", 0, err
	}
	id = rand.Text()
	if code, err = newCode(); err != nil {
		return "", "", 0, err
	}
	v := verification{Number: n, For: by, Code: c.mac("code", id, code), Expires: now.Add(c.config.CodeLife)}
	err = callstore.Change(ctx, c.records, c.verificationKey(p, id), c.config.CodeLife, func([]byte) ([]byte, error) { return json.Marshal(v) })
	return id, code, again, err
}

// newCode returns six random digits, each code as likely as any other.
func newCode() (string, error) {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		return "", fmt.Errorf("random code: %w", err)
	}
	return fmt.Sprintf("%0*d", codeDigits, n), nil
}

// verification is the record of a code that was sent.
type verification struct {
	Number  e164.Number       `json:"number"`
	For     directory.Account `json:"for,omitempty"` // who alone may use it; empty: anybody
	Code    []byte            `json:"code"`          // HMAC
	Wrong   int               `json:"wrong"`
	Expires time.Time         `json:"expires"`

	// Claim names the request that uses the code, since Claimed.
	Claim   string    `json:"claim,omitempty"`
	Claimed time.Time `json:"claimed,omitzero"`

	// What the code was used for; Device 0 if it was not.
	Account    directory.Account `json:"account,omitempty"`
	Device     directory.Device  `json:"device,omitempty"`
	Generation uint64            `json:"generation,omitempty"` // of the device's first token
}

// verdict is what a code is worth that somebody gives.
type verdict int

const (
	codeDead    verdict = iota // too old, or guessed at too often
	codeWrong                  // and counted
	codeBusy                   // right; another request uses it
	codeClaimed                // right; this request is to use it
	codeUsed                   // right; what it was for is done
)

// judge judges a code, given as its HMAC. It may change the record, which must
// then be saved before anybody hears the verdict.
func (v *verification) judge(mac []byte, claim string, now time.Time, attempts int) verdict {
	switch {
	case !now.Before(v.Expires) || v.Wrong >= attempts:
		return codeDead
	case !hmac.Equal(mac, v.Code):
		v.Wrong++
		return codeWrong
	case v.Device != 0:
		return codeUsed
	case v.Claim != "" && now.Sub(v.Claimed) < claimLife:
		return codeBusy
	}
	v.Claim, v.Claimed = claim, now
	return codeClaimed
}

// check judges a code that an account, or somebody who has none yet, gives for a
// verification. Without an error the code is right: the verification either has a
// device, or the caller has its claim and must settle it.
func (c *codes) check(ctx context.Context, p Purpose, id, code string, by directory.Account, claim string) (verification, error) {
	var v verification
	var is verdict
	mac := c.mac("code", id, code)
	err := callstore.Change(ctx, c.records, c.verificationKey(p, id), c.config.CodeLife, func(old []byte) ([]byte, error) {
		v, is = verification{}, codeDead
		if old == nil {
			return nil, nil
		}
		if err := decode(old, &v); err != nil {
			return nil, err
		}
		if v.For != by {
			return nil, nil
		}
		is = v.judge(mac, claim, time.Now().UTC(), c.config.CodeAttempts)
		if is == codeWrong || is == codeClaimed {
			return json.Marshal(v)
		}
		return nil, nil
	})
	if err != nil {
		return verification{}, err
	}
	switch is {
	case codeDead:
		return v, codeExpired()
	case codeWrong:
		return v, wrongCode(c.config.CodeAttempts - v.Wrong)
	case codeBusy:
		return v, protocol.NewError(protocol.CodeUnavailable, "another request is using this code").After(time.Second)
	}
	return v, nil
}

// settle ends a claim: with the device that was made or that asked, or, if d is
// zero, such that the code can be given again.
func (c *codes) settle(ctx context.Context, p Purpose, id, claim string, d directory.DeviceRecord) error {
	return callstore.Change(ctx, c.records, c.verificationKey(p, id), c.config.CodeLife, func(old []byte) ([]byte, error) {
		var v verification
		if err := decode(old, &v); err != nil || v.Claim != claim {
			return nil, err // gone, or taken over: the device is found by its external key
		}
		v.Claim, v.Claimed = "", time.Time{}
		v.Account, v.Device, v.Generation = d.Account, d.Device, d.Token.Generation
		return json.Marshal(v)
	})
}

func codeExpired() *protocol.Error {
	return protocol.NewError(protocol.CodeCodeExpired, "the code is too old, used up, or was never asked for")
}

func wrongCode(left int) *protocol.Error {
	e := protocol.NewError(protocol.CodeCode, "the code is wrong").With("attempts_left", fmt.Sprint(left))
	e.Retry = left > 0
	return e
}

// decode reads a record; nothing leaves v as it is. What a broken record holds
// is nobody's business.
func decode(data []byte, v any) error {
	if data == nil {
		return nil
	}
	if json.Unmarshal(data, v) != nil {
		return errors.New("a record of codes cannot be read")
	}
	return nil
}
