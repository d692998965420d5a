package pushtest

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"switchboard/signaling/push"
)

// Browser is the subscription that a browser made: it decrypts (RFC 8291).
type Browser struct {
	// Target is what the device tells the server.
	Target push.Target

	t      testing.TB
	key    *ecdh.PrivateKey
	secret []byte
}

// Subscribe makes a subscription at an endpoint.
func Subscribe(t testing.TB, endpoint string) *Browser {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &Browser{t: t, key: key, secret: []byte(rand.Text()[:16])}
	e := base64.RawURLEncoding.EncodeToString
	b.Target = push.Target{Kind: push.WebPush, Endpoint: endpoint, Key: e(key.PublicKey().Bytes()), Auth: e(b.secret)}
	return b
}

// Read opens a push, and fails the test if a push service would not have
// believed who sent it (RFC 8292), or a browser could not read it.
func (b *Browser) Read(r Received, applicationServerKey string) Notice {
	b.t.Helper()
	return read(b.t, b.Open(r, applicationServerKey))
}

// Open does so, and returns what the browser's service worker is told.
func (b *Browser) Open(r Received, applicationServerKey string) []byte {
	b.t.Helper()
	b.believe(r, applicationServerKey)
	if enc := r.Header.Get("Content-Encoding"); enc != "aes128gcm" {
		b.t.Errorf("content encoding %q", enc)
	}
	return b.decrypt(r.Body)
}

// believe checks the signature with the key that the browser subscribed with.
func (b *Browser) believe(r Received, applicationServerKey string) {
	b.t.Helper()
	token, key, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "vapid t="), ",")
	if key = strings.TrimPrefix(strings.TrimSpace(key), "k="); key != applicationServerKey {
		b.t.Fatalf("signed by %q, want %q", key, applicationServerKey)
	}
	point, err := base64.RawURLEncoding.DecodeString(key)
	if err != nil {
		b.t.Fatal(err)
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		b.t.Fatal(err)
	}
	u, err := url.Parse(b.Target.Endpoint)
	if err != nil {
		b.t.Fatal(err)
	}
	p := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithAudience(u.Scheme+"://"+u.Host), jwt.WithExpirationRequired())
	claims := jwt.MapClaims{}
	if _, err := p.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return pub, nil }); err != nil {
		b.t.Fatalf("the push service does not believe it: %v", err)
	}
	if s, _ := claims.GetSubject(); !strings.HasPrefix(s, "mailto:") && !strings.HasPrefix(s, "https://") {
		b.t.Errorf("subject %q", s)
	}
}

// decrypt opens the one record of an aes128gcm body (RFC 8188).
func (b *Browser) decrypt(body []byte) []byte {
	b.t.Helper()
	if len(body) < 21 || len(body) < 21+int(body[20]) {
		b.t.Fatalf("%d bytes are too few", len(body))
	}
	salt, keyLen := body[:16], int(body[20])
	theirs, sealed := body[21:21+keyLen], body[21+keyLen:]
	pub, err := ecdh.P256().NewPublicKey(theirs)
	if err != nil {
		b.t.Fatal(err)
	}
	shared, err := b.key.ECDH(pub)
	if err != nil {
		b.t.Fatal(err)
	}
	derive := func(secret, salt []byte, info string, n int) []byte {
		k, err := hkdf.Key(sha256.New, secret, salt, info, n)
		if err != nil {
			b.t.Fatal(err)
		}
		return k
	}
	ikm := derive(shared, b.secret, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(theirs), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	if err != nil {
		b.t.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.t.Fatal(err)
	}
	plain, err := gcm.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), sealed, nil)
	if err != nil {
		b.t.Fatalf("the browser cannot read it: %v", err)
	}
	text, ok := strings.CutSuffix(strings.TrimRight(string(plain), "\x00"), "\x02")
	if !ok {
		b.t.Fatal("the last record is not marked as such")
	}
	return []byte(text)
}
