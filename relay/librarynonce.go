package relay

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"net"
	"os"
	"sync"
	"time"

	"github.com/pion/stun/v4"
)

// libraryNonce is a nonce that the TURN library takes. The library checks the
// credentials of a request a second time, and takes no nonces but its own, which
// are not bound to a client. So libraryNonce is one more listener of the library's,
// without a socket, and asks it for a nonce as a client would: by a request without
// credentials. It may be used by several goroutines.
type libraryNonce struct {
	// Static after newLibraryNonce.
	ask    chan struct{} // holds one when a nonce is wanted
	got    chan []byte
	closed chan struct{}
	once   sync.Once

	mu sync.Mutex
	// Guarded by mu.
	nonce []byte
	since time.Time // without the monotonic clock, as the library reads it
}

const (
	// libraryNonceLife is for how long one is used. The library takes it for an hour.
	libraryNonceLife = 30 * time.Minute
	// libraryWithin bounds the wait for one, which takes microseconds.
	libraryWithin = time.Second
)

func newLibraryNonce() *libraryNonce {
	return &libraryNonce{ask: make(chan struct{}, 1), got: make(chan []byte, 1), closed: make(chan struct{})}
}

// get returns a nonce, or nil when the library gives none.
func (l *libraryNonce) get(now time.Time) []byte {
	now = now.Round(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if age := now.Sub(l.since); l.nonce != nil && age >= 0 && age < libraryNonceLife {
		return l.nonce
	}
	select {
	case <-l.got: // too late for who asked
	default:
	}
	select {
	case l.ask <- struct{}{}:
	default:
	}
	late := time.NewTimer(libraryWithin)
	defer late.Stop()
	select {
	case l.nonce = <-l.got:
		l.since = now
		return l.nonce
	case <-late.C:
	case <-l.closed:
	}
	return nil
}

// ReadFrom gives the library the request, whenever a nonce is wanted.
func (l *libraryNonce) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case <-l.ask:
	case <-l.closed:
		return 0, nil, net.ErrClosed
	}
	m, err := stun.Build(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest))
	if err != nil {
		return 0, nil, err
	}
	return copy(b, m.Raw), l.LocalAddr(), nil
}

// WriteTo takes the library's answer.
func (l *libraryNonce) WriteTo(b []byte, _ net.Addr) (int, error) {
	m := stun.Message{Raw: append([]byte(nil), b...)}
	var nonce stun.Nonce
	if m.Decode() == nil && nonce.GetFrom(&m) == nil && len(nonce) == nonceSize {
		select {
		case l.got <- nonce:
		default: // nobody waits for it
		}
	}
	return len(b), nil
}

// Close ends ReadFrom. Further calls do nothing.
func (l *libraryNonce) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// LocalAddr is an address, because the library wants one.
func (l *libraryNonce) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv6loopback} }

// The library sets no deadlines.

func (l *libraryNonce) SetDeadline(time.Time) error      { return os.ErrNoDeadline }
func (l *libraryNonce) SetReadDeadline(time.Time) error  { return os.ErrNoDeadline }
func (l *libraryNonce) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

// resign puts another nonce of the same length into a request, in place, and
// makes its MESSAGE-INTEGRITY and FINGERPRINT right again.
func resign(m *stun.Message, nonce, key []byte) {
	if old, err := m.Get(stun.AttrNonce); err == nil {
		copy(old, nonce)
	}
	end := stunHeader // of what is authenticated (RFC 8489 section 14.5)
	for _, a := range m.Attributes {
		if a.Type == stun.AttrMessageIntegrity {
			break
		}
		end += attributeHeader + (int(a.Length)+3)&^3
	}
	binary.BigEndian.PutUint16(m.Raw[2:], uint16(end+attributeHeader+sha1.Size-stunHeader))
	h := hmac.New(sha1.New, key)
	h.Write(m.Raw[:end])
	h.Sum(m.Raw[:end+attributeHeader])
	binary.BigEndian.PutUint16(m.Raw[2:], uint16(len(m.Raw)-stunHeader))
	if m.Contains(stun.AttrFingerprint) {
		at := len(m.Raw) - 4
		binary.BigEndian.PutUint32(m.Raw[at:], stun.FingerprintValue(m.Raw[:at-attributeHeader]))
	}
}
