package auth_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"

	"switchboard/directory/directorytest"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

// issuer is an identity system.
type issuer struct {
	t    testing.TB
	path string

	mu      sync.Mutex
	ed      ed25519.PrivateKey
	kid     string
	extra   []jwkset.JWKMarshal
	fetched int
	fail    int // HTTP status
}

func newIssuer(t testing.TB) *issuer {
	i := &issuer{t: t, path: filepath.Join(t.TempDir(), "jwks.json")}
	i.rotate("k1")
	return i
}

func (i *issuer) rotate(kid string) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.ed, i.kid = key, kid
}

func marshalKey(t testing.TB, key any, o jwkset.JWKOptions) jwkset.JWKMarshal {
	t.Helper()
	k, err := jwkset.NewJWKFromKey(key, o)
	if err != nil {
		t.Fatal(err)
	}
	return k.Marshal()
}

func (i *issuer) set() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	m := jwkset.JWKSMarshal{Keys: append([]jwkset.JWKMarshal{
		marshalKey(i.t, i.ed.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: i.kid, USE: jwkset.UseSig}}),
	}, i.extra...)}
	data, err := json.Marshal(m)
	if err != nil {
		i.t.Fatal(err)
	}
	return data
}

func (i *issuer) file() string {
	if err := os.WriteFile(i.path, i.set(), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return i.path
}

// RoundTrip answers after a while, so that several may wait for it.
func (i *issuer) RoundTrip(*http.Request) (*http.Response, error) {
	time.Sleep(100 * time.Millisecond)
	data := i.set()
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fetched++
	w := httptest.NewRecorder()
	if i.fail != 0 {
		w.WriteHeader(i.fail)
	} else {
		w.Write(data)
	}
	return w.Result(), nil
}

func (i *issuer) answer(status int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fail = status
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fetched
}

// token signs a token; changes are applied to the claims, nil removes one.
func (i *issuer) token(changes jwt.MapClaims) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sign(jwt.SigningMethodEdDSA, i.ed, i.kid, changes)
}

func (i *issuer) sign(method jwt.SigningMethod, key any, kid string, changes jwt.MapClaims) string {
	i.t.Helper()
	c := jwt.MapClaims{
		"iss": "https://id.example", "aud": []string{"other", "phones"}, "sub": "u1", "exp": time.Now().Add(time.Hour).Unix(),
		"phone_number": alice, "device_id": "laptop",
	}
	for k, v := range changes {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	token := jwt.NewWithClaims(method, c)
	if kid != "" {
		token.Header["kid"] = kid
	}
	s, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return s
}

func trusting(c *auth.Config) {
	c.External.Issuer, c.External.Audience = "https://id.example", "phones"
}

func newFileNode(t testing.TB, i *issuer) *node {
	return newNode(t, func(c *auth.Config) { trusting(c); c.External.JWKSFile = i.file() })
}

// newURLNode makes a node that reads keys by HTTP. NewAuthenticator tries at
// once; where nothing listens, the first token has them read.
func newURLNode(t testing.TB, i *issuer) *node {
	n := newNode(t, func(c *auth.Config) { trusting(c); c.External.JWKSURL = "http://127.0.0.1:1/jwks" })
	n.auth.KeysTransport(i)
	time.Sleep(30 * time.Second) // until it is asked again
	return n
}

func TestExternalToken(t *testing.T) {
	i := newIssuer(t)
	n := newFileNode(t, i)
	first, err := n.auth.Authenticate(t.Context(), i.token(nil))
	if err != nil {
		t.Fatal(err)
	}
	if first.Number.E164() != alice || first.Device != 1 || !within(time.Until(first.Expires), time.Hour) && time.Until(first.Expires) > time.Hour {
		t.Errorf("got %+v", first)
	}
	again, err := n.auth.Authenticate(t.Context(), i.token(nil))
	if err != nil || again.Account != first.Account || again.Device != first.Device {
		t.Errorf("the same device again: %+v, %v", again, err)
	}
	second, err := n.auth.Authenticate(t.Context(), i.token(jwt.MapClaims{"device_id": "phone"}))
	if err != nil || second.Account != first.Account || second.Device == first.Device {
		t.Errorf("another device: %+v, %v", second, err)
	}
	other, err := n.auth.Authenticate(t.Context(), i.token(jwt.MapClaims{"phone_number": bob}))
	if err != nil || other.Account == first.Account {
		t.Errorf("another number: %+v, %v", other, err)
	}
	// Devices of codes and of external tokens live side by side.
	own := n.device(alice)
	if own.Account != string(first.Account) {
		t.Error("the account is another")
	}
	if _, err := n.auth.Authenticate(t.Context(), own.Token); err != nil {
		t.Error(err)
	}
	_, err = n.refresh(i.token(nil))
	want(t, err, protocol.CodeUnsupported)
	want(t, n.revoke(i.token(nil)), "")
	if got := len(n.devices(own.Account)); got != 2 {
		t.Errorf("there are %d devices", got)
	}
}

func TestBadExternalTokens(t *testing.T) {
	i := newIssuer(t)
	weak := weakRSA(t)
	i.extra = []jwkset.JWKMarshal{
		marshalKey(t, testKey, jwkset.JWKOptions{Marshal: jwkset.JWKMarshalOptions{Private: true}, Metadata: jwkset.JWKMetadataOptions{KID: "oct"}}),
		marshalKey(t, weak.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "weak"}}),
		marshalKey(t, i.ed.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "enc", USE: jwkset.UseEnc}}),
	}
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	synctest.Test(t, func(t *testing.T) {
		n := newFileNode(t, i)
		time.Sleep(30 * time.Second)
		for _, c := range []struct{ name, token, reason string }{
			{"expired", i.token(jwt.MapClaims{"exp": time.Now().Add(-time.Minute).Unix()}), "expired"},
			{"never expires", i.token(jwt.MapClaims{"exp": nil}), "claims"},
			{"not yet", i.token(jwt.MapClaims{"nbf": time.Now().Add(time.Minute).Unix()}), "not_yet"},
			{"for another service", i.token(jwt.MapClaims{"aud": "other"}), "audience"},
			{"for no service", i.token(jwt.MapClaims{"aud": nil}), "claims"},
			{"of another issuer", i.token(jwt.MapClaims{"iss": "https://evil.example"}), "signature"},
			{"of our name", i.token(jwt.MapClaims{"iss": "switchboard"}), "signature"},
			{"no number", i.token(jwt.MapClaims{"phone_number": nil}), "number"},
			{"number without a +", i.token(jwt.MapClaims{"phone_number": "4155550101"}), "number"},
			{"number of a wrong type", i.token(jwt.MapClaims{"phone_number": 14155550101}), "number"},
			{"number not verified", i.token(jwt.MapClaims{"phone_number_verified": false}), "unverified"},
			{"no device", i.token(jwt.MapClaims{"device_id": nil}), "claims"},
			{"device of a wrong type", i.token(jwt.MapClaims{"device_id": 1}), "claims"},
			{"long device", i.token(jwt.MapClaims{"device_id": strings.Repeat("x", 129)}), "claims"},
			{"unprintable device", i.token(jwt.MapClaims{"device_id": "a\x00b"}), "claims"},
			{"another key", i.sign(jwt.SigningMethodEdDSA, stranger, "k1", nil), "signature"},
			{"another key without a name", i.sign(jwt.SigningMethodEdDSA, stranger, "", nil), "signature"},
			{"none", i.sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "k1", nil), "signature"},
			{"HMAC by the public key", i.sign(jwt.SigningMethodHS256, []byte(i.ed.Public().(ed25519.PublicKey)), "k1", nil), "signature"},
			{"HMAC by a secret in the set", i.sign(jwt.SigningMethodHS256, testKey, "oct", nil), "signature"},
			{"a key that is too short", i.sign(jwt.SigningMethodRS256, weak, "weak", nil), "signature"},
			{"a key for encryption", i.sign(jwt.SigningMethodEdDSA, i.ed, "enc", nil), "signature"},
		} {
			_, err := n.auth.Authenticate(t.Context(), c.token)
			if e := protocol.CodeOf(err); e == "" && err != nil {
				// An unknown key has them read; then it is known to be bad.
				time.Sleep(30 * time.Second)
				_, err = n.auth.Authenticate(t.Context(), c.token)
			}
			if e, _ := errors.AsType[*protocol.Error](err); e == nil || e.Code != protocol.CodeToken || e.Info["reason"] != c.reason {
				t.Errorf("%s: %v, want reason %s", c.name, err, c.reason)
			}
		}
		if _, err := n.auth.Authenticate(t.Context(), i.token(jwt.MapClaims{"phone_number_verified": true})); err != nil {
			t.Error(err)
		}
		if _, err := n.auth.Authenticate(t.Context(), i.sign(jwt.SigningMethodEdDSA, i.ed, "", nil)); err != nil {
			t.Errorf("a token that names no key: %v", err)
		}
	})
}

// weakRSA is a key of 1024 bits, which crypto/rsa no longer makes.
func weakRSA(t testing.TB) *rsa.PrivateKey {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestExternalKeysOfOtherKinds(t *testing.T) {
	i := newIssuer(t)
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	want(t, err, "")
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	want(t, err, "")
	i.extra = []jwkset.JWKMarshal{
		marshalKey(t, r.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "r", ALG: jwkset.AlgRS256}}),
		marshalKey(t, e.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{KID: "e"}}),
	}
	n := newFileNode(t, i)
	for name, token := range map[string]string{
		"RS256": i.sign(jwt.SigningMethodRS256, r, "r", nil),
		"ES256": i.sign(jwt.SigningMethodES256, e, "e", nil),
	} {
		if _, err := n.auth.Authenticate(t.Context(), token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = n.auth.Authenticate(t.Context(), i.sign(jwt.SigningMethodPS256, r, "r", nil))
	wantReason(t, err, "signature") // the key says RS256
}

// A new key of the system works at once, and nobody can have it asked in a row.
func TestExternalKeysAreReadForAnUnknownKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		n := newURLNode(t, i)
		_, err := n.auth.Authenticate(t.Context(), i.token(nil))
		want(t, err, "")
		time.Sleep(time.Minute)
		i.rotate("k2")
		old := i.count()
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := n.auth.Authenticate(t.Context(), i.token(nil)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if got := i.count() - old; got != 1 {
			t.Errorf("the keys were read %d times", got)
		}
		// Somebody names keys that do not exist.
		for range 20 {
			if _, err := n.auth.Authenticate(t.Context(), i.sign(jwt.SigningMethodEdDSA, i.ed, "k9", nil)); err == nil || protocol.CodeOf(err) != "" {
				t.Errorf("got %v, want an error that says that it could not be checked", err)
			}
		}
		if got := i.count() - old; got != 1 {
			t.Errorf("the keys were read %d times", got)
		}
		_, err = n.auth.Authenticate(t.Context(), i.token(nil))
		want(t, err, "")
		time.Sleep(30 * time.Second)
		_, err = n.auth.Authenticate(t.Context(), i.sign(jwt.SigningMethodEdDSA, i.ed, "k9", nil))
		wantReason(t, err, "signature")
	})
}

// A key that is withdrawn is forgotten with the next reading.
func TestExternalKeysAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		n := newURLNode(t, i)
		token := i.token(jwt.MapClaims{"exp": time.Now().Add(48 * time.Hour).Unix()})
		_, err := n.auth.Authenticate(t.Context(), token)
		want(t, err, "")
		i.rotate("k2")
		time.Sleep(time.Hour - time.Second)
		_, err = n.auth.Authenticate(t.Context(), token)
		want(t, err, "")
		time.Sleep(time.Second)
		if _, err = n.auth.Authenticate(t.Context(), token); err == nil {
			t.Error("the key is still good")
		}
	})
}

// While the identity system is away its keys stay good, for a day.
func TestExternalKeysWhenTheSystemIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		i.answer(http.StatusBadGateway)
		n := newURLNode(t, i)
		token := i.token(jwt.MapClaims{"exp": time.Now().Add(48 * time.Hour).Unix()})
		if _, err := n.auth.Authenticate(t.Context(), token); err == nil || protocol.CodeOf(err) != "" {
			t.Errorf("without any key: %v", err)
		}
		i.answer(0)
		time.Sleep(30 * time.Second)
		_, err := n.auth.Authenticate(t.Context(), token)
		want(t, err, "")
		i.answer(http.StatusBadGateway)
		time.Sleep(23 * time.Hour)
		_, err = n.auth.Authenticate(t.Context(), token)
		want(t, err, "")
		time.Sleep(time.Hour)
		if _, err = n.auth.Authenticate(t.Context(), token); err == nil || protocol.CodeOf(err) != "" {
			t.Errorf("after a day: %v", err)
		}
	})
}

// hanging never answers.
type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestExternalKeysThatHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		n := newURLNode(t, i)
		_, err := n.auth.Authenticate(t.Context(), i.token(nil))
		want(t, err, "")
		n.auth.KeysTransport(hanging{})
		time.Sleep(time.Hour)
		start := time.Now()
		_, err = n.auth.Authenticate(t.Context(), i.token(nil))
		want(t, err, "")
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("it took %v", d)
		}
		_, err = n.auth.Authenticate(t.Context(), i.token(nil)) // the next one does not wait
		want(t, err, "")
		if d := time.Since(start); d > 3*time.Second {
			t.Errorf("it took %v", d)
		}
	})
}

type body string

func (b body) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(string(b)))}, nil
}

func TestExternalKeysThatAreNone(t *testing.T) {
	many := `{"keys":[` + strings.Repeat(`{"kty":"oct"},`, 64) + `{"kty":"oct"}]}`
	for name, text := range map[string]string{
		"no JSON": "hello", "no set": "[]", "empty": `{"keys":[]}`, "too many": many, "secret": `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"too large": `{"x":"` + string(bytes.Repeat([]byte("x"), 1<<20)) + `","keys":[]}`,
	} {
		synctest.Test(t, func(t *testing.T) {
			i := newIssuer(t)
			n := newURLNode(t, i)
			n.auth.KeysTransport(body(text))
			if _, err := n.auth.Authenticate(t.Context(), i.token(nil)); err == nil || protocol.CodeOf(err) != "" {
				t.Errorf("%s: %v", name, err)
			}
		})
		path := filepath.Join(t.TempDir(), "jwks.json")
		want(t, os.WriteFile(path, []byte(text), 0o600), "")
		c := auth.Default()
		trusting(&c)
		c.External.JWKSFile = path
		if _, err := auth.NewAuthenticator(t.Context(), c, firstKeys, directorytest.New()); err == nil {
			t.Errorf("%s: the file is taken", name)
		}
	}
}

// Over a real connection: redirects are not followed.
func TestExternalKeysByHTTP(t *testing.T) {
	i := newIssuer(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { w.Write(i.set()) })
	mux.Handle("/moved", http.RedirectHandler("/jwks", http.StatusFound))
	s := httptest.NewServer(mux)
	defer s.Close()
	defer http.DefaultClient.CloseIdleConnections()
	for path, ok := range map[string]bool{"/jwks": true, "/moved": false} {
		n := newNodeOn(t, directorytest.New(), callstoretest.New(), func(c *auth.Config) { trusting(c); c.External.JWKSURL = s.URL + path })
		if _, err := n.auth.Authenticate(context.Background(), i.token(nil)); (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
	}
}
