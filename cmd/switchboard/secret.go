package main

import (
	"bytes"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Secret is the one secret of an installation. Everything that must be keyed
// has a key of its own, derived from it for its purpose (HKDF-SHA256, RFC
// 5869), so that one file is all that has to be kept, copied to every
// signaling node and backed up. Who has it can forge tokens and look up
// numbers.
type Secret struct{ b []byte }

// secretSize is the size in bytes of a master secret. It is as strong as the
// keys that are derived from it.
const secretSize = 32

// purpose says what a derived key is for. The words are fixed for ever: with
// other words come other keys.
type purpose string

const (
	forNumbers purpose = "switchboard numbers in the directory v1"
	forTokens  purpose = "switchboard device tokens v1"
	forCodes   purpose = "switchboard one-time codes v1"
	forRelays  purpose = "switchboard relay credentials v1"
	forPushes  purpose = "switchboard Web Push VAPID v1"
)

// Key derives the 32 byte key for p.
func (s Secret) Key(p purpose) []byte {
	k, err := hkdf.Key(sha256.New, s.b, nil, string(p), sha256.Size)
	if err != nil {
		panic(err) // only lengths that no call here has
	}
	return k
}

// String keeps the secret out of whatever prints a value that holds one.
func (s Secret) String() string { return "Secret" }

// GoString keeps %#v from printing the secret.
func (s Secret) GoString() string { return "Secret" }

var errNoSecret = errors.New("no such file")

// readSecret reads a file that gen-secret wrote, which key names.
func readSecret(key, file string) (Secret, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return Secret{}, fmt.Errorf("%s: %s: %w; make it with: switchboard gen-secret %s", key, file, errNoSecret, secretFlags[key]+file)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("%s: %w", key, err)
	}
	b, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil || len(b) != secretSize {
		return Secret{}, fmt.Errorf("%s: %s: not %d bytes in hexadecimal, as gen-secret writes them", key, file, secretSize)
	}
	return Secret{b}, nil
}

// secretFlags are those of gen-secret that make the file of a key.
var secretFlags = map[string]string{"secret_file": "-out ", "relay_secret_file": "-relay -out "}

// newSecret returns a new master secret in the form in which it is kept.
func newSecret() string {
	b := make([]byte, secretSize)
	rand.Read(b)
	return hex.EncodeToString(b) + "\n"
}

// writeSecret writes a secret to a new file, readable to its owner alone, whole
// or not at all. It never replaces a file: what is keyed by the old secret would
// be lost.
func writeSecret(file, text string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".secret-*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), file) // which fails where there is one
}

// openSecret reads the master secret. In development, and only there, a
// missing one is made.
func openSecret(file string, development bool) (Secret, error) {
	s, err := readSecret("secret_file", file)
	if !development || !errors.Is(err, errNoSecret) {
		return s, err
	}
	if err := writeSecret(file, newSecret()); err != nil && !errors.Is(err, fs.ErrExist) {
		return Secret{}, fmt.Errorf("secret_file: %w", err)
	}
	return readSecret("secret_file", file)
}
