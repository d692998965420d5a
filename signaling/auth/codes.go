package auth

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"switchboard/directory/e164"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

// Records keeps records with a life, by compare-and-set. Errors are those of
// package callstore.
type Records interface {
	Create(ctx context.Context, key string, data []byte, ttl time.Duration) (rev uint64, err error)
	Load(ctx context.Context, key string) (data []byte, rev uint64, err error)
	Save(ctx context.Context, key string, data []byte, rev uint64, ttl time.Duration) (uint64, error)
}

// codeDigits is the length of a code: short enough to keep in mind, and with
// the few attempts there are, long enough.
const codeDigits = 6

// maxTries bounds how often a change is tried anew because another was faster.
const maxTries = 32

// codes issues one-time codes and checks them.
type codes struct {
	config  Config
	key     []byte // of the HMACs
	records Records
}

// verification is a code that was sent. Its key is an HMAC of its id.
type verification struct {
	Number  e164.Number `json:"number"`
	Code    []byte      `json:"code"` // HMAC
	Left    int         `json:"left"` // attempts
	Expires time.Time   `json:"expires"`
}

// history is when codes were sent to a number, and the newest of them. Its key
// is an HMAC of the number.
type history struct {
	Sent   []time.Time `json:"sent"`
	Newest string      `json:"newest"` // key of the verification
}

func (c *codes) mac(parts ...string) []byte {
	m := hmac.New(sha256.New, c.key)
	m.Write([]byte(strings.Join(parts, "\x00")))
	return m.Sum(nil)
}

var keyEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

func (c *codes) recordKey(kind, of string) string {
	return kind + "." + keyEncoding.EncodeToString(c.mac(kind, of)[:16])
}

// issue makes a code for a number, in place of an earlier one. A number that
// has had enough of them gets a [*protocol.Error] that says when again.
func (c *codes) issue(ctx context.Context, n e164.Number) (id, code string, err error) {
	id, code = rand.Text(), newCode()
	key := c.recordKey("v", id)
	if err := c.note(ctx, n, key); err != nil {
		return "", "", err
	}
	data, err := json.Marshal(verification{
		Number: n, Code: c.mac("code", id, code), Left: c.config.CodeAttempts, Expires: time.Now().Add(c.config.CodeLife).UTC(),
	})
	if err != nil {
		return "", "", fmt.Errorf("issue code: %w", err)
	}
	if _, err := c.records.Create(ctx, key, data, c.config.CodeLife); err != nil {
		return "", "", fmt.Errorf("issue code: %w", err)
	}
	return id, code, nil
}

// newCode returns six random digits.
func newCode() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000))
	if err != nil {
		panic(err) // never: rand.Reader does not fail
	}
	return fmt.Sprintf("%0*d", codeDigits, n)
}

// note counts a code for the number, if it may have one.
func (c *codes) note(ctx context.Context, n e164.Number, newest string) error {
	key := c.recordKey("n", n.E164())
	for range maxTries {
		h, rev, err := c.loadHistory(ctx, key)
		if err != nil {
			return err
		}
		now := time.Now().UTC()
		if err := c.mayHave(&h, now); err != nil {
			return err
		}
		h.Sent, h.Newest = append(h.Sent, now), newest
		data, err := json.Marshal(h)
		if err != nil {
			return fmt.Errorf("issue code: %w", err)
		}
		if rev == 0 {
			_, err = c.records.Create(ctx, key, data, time.Hour)
		} else {
			_, err = c.records.Save(ctx, key, data, rev, time.Hour)
		}
		if !errors.Is(err, callstore.ErrConflict) && !errors.Is(err, callstore.ErrExists) {
			return err
		}
	}
	return callstore.ErrConflict
}

func (c *codes) loadHistory(ctx context.Context, key string) (history, uint64, error) {
	data, rev, err := c.records.Load(ctx, key)
	if errors.Is(err, callstore.ErrNotFound) {
		return history{}, 0, nil
	}
	if err != nil {
		return history{}, 0, err
	}
	var h history
	if err := json.Unmarshal(data, &h); err != nil {
		return history{}, 0, fmt.Errorf("record of codes: %w", err)
	}
	return h, rev, nil
}

// mayHave drops what is older than an hour and reports when the number may have
// another code, if not now.
func (c *codes) mayHave(h *history, now time.Time) error {
	for len(h.Sent) > 0 && now.Sub(h.Sent[0]) >= time.Hour {
		h.Sent = h.Sent[1:]
	}
	var wait time.Duration
	if n := len(h.Sent); n > 0 {
		wait = c.config.CodeResend - now.Sub(h.Sent[n-1])
		if n >= c.config.CodesPerHour {
			wait = max(wait, time.Hour-now.Sub(h.Sent[0]))
		}
	}
	if wait > 0 {
		return protocol.NewError(protocol.CodeRate, "a code was sent to this number a short while ago").After(wait)
	}
	return nil
}

var errCodeExpired = protocol.NewError(protocol.CodeCodeExpired, "the code is too old, used up, or was never asked for")

// check takes an attempt and returns the number whose code it is. Attempts are
// counted before the code is compared, so that many at once are no more than
// many in a row.
func (c *codes) check(ctx context.Context, id, code string) (e164.Number, error) {
	key := c.recordKey("v", id)
	for range maxTries {
		data, rev, err := c.records.Load(ctx, key)
		if errors.Is(err, callstore.ErrNotFound) {
			return e164.Number{}, errCodeExpired
		}
		if err != nil {
			return e164.Number{}, err
		}
		var v verification
		if err := json.Unmarshal(data, &v); err != nil {
			return e164.Number{}, fmt.Errorf("record of a code: %w", err)
		}
		if v.Left <= 0 || !time.Now().Before(v.Expires) || !c.newest(ctx, v.Number, key) {
			return e164.Number{}, errCodeExpired
		}
		v.Left--
		if data, err = json.Marshal(v); err != nil {
			return e164.Number{}, fmt.Errorf("check code: %w", err)
		}
		_, err = c.records.Save(ctx, key, data, rev, time.Until(v.Expires))
		if errors.Is(err, callstore.ErrConflict) {
			continue
		}
		if err != nil {
			return e164.Number{}, err
		}
		if !hmac.Equal(v.Code, c.mac("code", id, code)) {
			return e164.Number{}, protocol.NewError(protocol.CodeCode, "the code is wrong").With("attempts_left", fmt.Sprint(v.Left))
		}
		return v.Number, nil
	}
	return e164.Number{}, callstore.ErrConflict
}

// newest reports whether no other code has been sent to the number since.
func (c *codes) newest(ctx context.Context, n e164.Number, key string) bool {
	h, _, err := c.loadHistory(ctx, c.recordKey("n", n.E164()))
	return err == nil && (h.Newest == key || h.Newest == "")
}
