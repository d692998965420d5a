package auth

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
)

// keySize is the least size of a token key in bytes: that of the hash (RFC 7518
// §3.2).
const keySize = 32

// Key signs tokens. Its ID stands in them, so that an old key is still accepted
// while a new one signs.
type Key struct {
	ID     string
	Secret []byte // at least 32 bytes
}

// NewKey makes a key whose ID follows from the secret and tells nothing of it.
func NewKey(secret []byte) (Key, error) {
	if len(secret) < keySize {
		return Key{}, fmt.Errorf("token key: has fewer than %d bytes", keySize)
	}
	m := hmac.New(sha256.New, secret)
	m.Write([]byte("switchboard token key id v1"))
	return Key{hex.EncodeToString(m.Sum(nil)[:8]), bytes.Clone(secret)}, nil
}

// ParseKey reads a key in the form that [GenerateKey] writes.
func ParseKey(text []byte) (Key, error) {
	secret, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		return Key{}, errors.New("token key: is not hexadecimal")
	}
	return NewKey(secret)
}

// GenerateKey returns a new key as the text of a key file: 32 bytes in
// hexadecimal and the end of the line.
func GenerateKey() []byte {
	b := make([]byte, keySize)
	_, _ = rand.Read(b) // never fails
	return append(hex.AppendEncode(nil, b), '\n')
}

// String keeps the secret out of whatever prints a key.
func (k Key) String() string { return "token key " + k.ID }

// GoString keeps %#v from printing the secret.
func (k Key) GoString() string { return "auth.Key(" + k.ID + ")" }

// LogValue keeps the secret out of logs.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.ID) }

// Keys are the active keys: the first signs, all of them check. To change the
// key without a gap, put the new one second on every node, then first on every
// node, and take the old one away when its last tokens have expired.
type Keys []Key

// ReadKeys reads one key from each file, in the form of [GenerateKey].
func ReadKeys(files ...string) (Keys, error) {
	var keys Keys
	var errs []error
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil {
			var k Key
			k, err = ParseKey(text)
			keys = append(keys, k)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return keys, keys.Validate()
}

// Validate reports whether tokens can be signed and checked with the keys.
func (k Keys) Validate() error {
	if len(k) < 1 || len(k) > 2 {
		return fmt.Errorf("token keys: there are %d, not one or two", len(k))
	}
	for i, key := range k {
		switch {
		case key.ID == "" || len(key.Secret) < keySize:
			return fmt.Errorf("token keys: one has no id or fewer than %d bytes", keySize)
		case i > 0 && key.ID == k[0].ID:
			return errors.New("token keys: two have the same id")
		}
	}
	return nil
}

// find returns the secret of the key with an id, as a token's header has it.
func (k Keys) find(id any) ([]byte, bool) {
	for _, key := range k {
		if id == key.ID {
			return key.Secret, true
		}
	}
	return nil, false
}
