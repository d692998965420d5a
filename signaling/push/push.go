package push

import (
	"crypto/ecdh"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Device names a device of an account.
type Device struct {
	Account string
	Device  uint32
}

// Reason says why a device is woken.
type Reason string

// The reasons.
const (
	Message Reason = "message" // something waits in the mailbox
	Ring    Reason = "ring"    // a call rings
	Stop    Reason = "stop"    // it rings no longer
)

// Wake is what a device is told.
type Wake struct {
	Reason Reason
	// Call is the call's id, for Ring and Stop.
	Call string
	// Expires is when it is of no use any more; zero is a day from now.
	Expires time.Time
}

// Kind is a way to a device.
type Kind string

// The ways.
const (
	Webhook Kind = "webhook"
	WebPush Kind = "webpush"
)

// Target is how a device is reached. It is the device's own secret and does not
// belong into logs.
type Target struct {
	Kind Kind `json:"kind"`
	// Token is what the operator's service knows the app by, at most 4,096
	// bytes, for Webhook.
	Token string `json:"token,omitempty"`
	// Endpoint, Key and Auth are those of a PushSubscription (W3C Push API), the
	// last two as base64url without padding: p256dh and auth. For WebPush.
	Endpoint string `json:"endpoint,omitempty"`
	Key      string `json:"p256dh,omitempty"`
	Auth     string `json:"auth,omitempty"`
}

const (
	maxToken    = 4096
	maxEndpoint = 2048
)

// TargetError says what is wrong with a target.
type TargetError struct {
	Field string // as in JSON
	Why   string
}

func (e *TargetError) Error() string { return fmt.Sprintf("push: field %q %s", e.Field, e.Why) }

// Validate reports a [TargetError].
func (t Target) Validate() error {
	switch t.Kind {
	case Webhook:
		if t.Token == "" || len(t.Token) > maxToken {
			return &TargetError{"token", fmt.Sprintf("must have 1 to %d bytes", maxToken)}
		}
		return nil
	case WebPush:
		return t.validateWebPush()
	}
	return &TargetError{"kind", "must be webhook or webpush"}
}

func (t Target) validateWebPush() error {
	u, err := url.Parse(t.Endpoint)
	if err != nil || u.Host == "" || u.User != nil || len(t.Endpoint) > maxEndpoint || u.Scheme != "https" && !loopback(u) {
		return &TargetError{"endpoint", fmt.Sprintf("must be an https URL of at most %d bytes", maxEndpoint)}
	}
	key, err := decodeKey(t.Key)
	if err == nil {
		_, err = ecdh.P256().NewPublicKey(key)
	}
	if err != nil {
		return &TargetError{"p256dh", "must be an uncompressed point on P-256 as base64url"}
	}
	if secret, err := decodeKey(t.Auth); err != nil || len(secret) != 16 {
		return &TargetError{"auth", "must be 16 bytes as base64url"}
	}
	return nil
}

func decodeKey(s string) ([]byte, error) {
	return base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
}

func loopback(u *url.URL) bool {
	return u.Scheme == "http" && (u.Hostname() == "127.0.0.1" || u.Hostname() == "::1" || u.Hostname() == "localhost")
}

var (
	// ErrGone says that the target leads nowhere any more: the device must give
	// another.
	ErrGone = errors.New("push target is gone")
	// ErrRefused says that a push was refused and would be again.
	ErrRefused = errors.New("push was refused")
	// ErrUnavailable says that the queue cannot be reached: whatever was asked
	// may or may not have happened.
	ErrUnavailable = errors.New("push queue is unavailable")
)
