package auth_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

// forge signs a token like one of ours, changed by change.
func forge(t testing.TB, like protocol.TokenReply, method jwt.SigningMethod, key any, change func(header map[string]any, claims jwt.MapClaims)) string {
	t.Helper()
	c := jwt.MapClaims{
		"iss": "switchboard", "sub": like.Account, "dev": like.Device, "gen": 1, "exp": time.Now().Add(time.Hour).Unix(),
	}
	token := jwt.NewWithClaims(method, c)
	token.Header["kid"] = firstKeys[0].ID
	if change != nil {
		change(token.Header, c)
	}
	s, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBadTokens(t *testing.T) {
	n := newNode(t, nil)
	d := n.device(alice)
	hs256 := jwt.SigningMethodHS256
	set := func(claim string, v any) func(map[string]any, jwt.MapClaims) {
		return func(_ map[string]any, c jwt.MapClaims) { c[claim] = v }
	}
	drop := func(claim string) func(map[string]any, jwt.MapClaims) {
		return func(_ map[string]any, c jwt.MapClaims) { delete(c, claim) }
	}
	if _, err := n.auth.Authenticate(t.Context(), forge(t, d, hs256, testKey, nil)); err != nil {
		t.Fatalf("the token that the others differ from: %v", err)
	}
	cut := strings.LastIndexByte(d.Token, '.')
	other := forge(t, d, hs256, testKey, nil)
	for _, c := range []struct{ name, token, reason string }{
		{"empty", "", "malformed"},
		{"no JWT", "abc", "malformed"},
		{"huge", strings.Repeat("a.", 8<<10), "malformed"},
		{"no signature", d.Token[:cut+1], "signature"},
		{"signature of another", d.Token[:cut] + other[strings.LastIndexByte(other, '.'):], "signature"},
		{"none", forge(t, d, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil), "signature"},
		{"HS384", forge(t, d, jwt.SigningMethodHS384, testKey, nil), "signature"},
		{"other key", forge(t, d, hs256, codeKey, nil), "signature"},
		{"unknown kid", forge(t, d, hs256, testKey, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = "x" }), "signature"},
		{"no kid", forge(t, d, hs256, testKey, func(h map[string]any, _ jwt.MapClaims) { delete(h, "kid") }), "signature"},
		{"kid of a wrong type", forge(t, d, hs256, testKey, func(h map[string]any, _ jwt.MapClaims) { h["kid"] = []any{1} }), "signature"},
		{"expired", forge(t, d, hs256, testKey, set("exp", time.Now().Add(-time.Minute).Unix())), "expired"},
		{"never expires", forge(t, d, hs256, testKey, drop("exp")), "claims"},
		{"not yet", forge(t, d, hs256, testKey, set("nbf", time.Now().Add(time.Minute).Unix())), "not_yet"},
		{"other issuer", forge(t, d, hs256, testKey, set("iss", "elsewhere")), "audience"},
		{"no issuer", forge(t, d, hs256, testKey, drop("iss")), "claims"},
		{"no account", forge(t, d, hs256, testKey, drop("sub")), "claims"},
		{"account that cannot be", forge(t, d, hs256, testKey, set("sub", "a.*.>")), "claims"},
		{"account that is not there", forge(t, d, hs256, testKey, set("sub", "0000000000000")), "removed"},
		{"no device", forge(t, d, hs256, testKey, drop("dev")), "claims"},
		{"device that is not there", forge(t, d, hs256, testKey, set("dev", 7)), "removed"},
		{"device of a wrong type", forge(t, d, hs256, testKey, set("dev", "1")), "malformed"},
		{"later generation", forge(t, d, hs256, testKey, set("gen", 2)), "replaced"},
		{"no generation", forge(t, d, hs256, testKey, func(_ map[string]any, c jwt.MapClaims) { c["gen"] = uint64(1<<64 - 1) }), "replaced"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := n.auth.Authenticate(t.Context(), c.token)
			wantReason(t, err, c.reason)
		})
	}
}

func TestTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		d := n.device(alice)
		time.Sleep(30*24*time.Hour + 29*time.Second) // clocks may be apart
		if _, err := n.auth.Authenticate(t.Context(), d.Token); err != nil {
			t.Error(err)
		}
		time.Sleep(2 * time.Second)
		_, err := n.auth.Authenticate(t.Context(), d.Token)
		wantReason(t, err, "expired")
		_, err = n.refresh(d.Token)
		wantReason(t, err, "expired")
	})
}

func TestRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		first := n.device(alice)
		time.Sleep(20 * 24 * time.Hour)
		second, err := n.refresh(first.Token)
		want(t, err, "")
		if second.Account != first.Account || second.Device != first.Device || second.Number != first.Number || !within(ms(second.ExpiresMS), 30*24*time.Hour) {
			t.Errorf("got %+v", second)
		}
		// The answer may be lost: the token before is good for two minutes.
		time.Sleep(2*time.Minute - time.Second)
		if _, err := n.auth.Authenticate(t.Context(), first.Token); err != nil {
			t.Error(err)
		}
		again, err := n.refresh(first.Token)
		want(t, err, "")
		time.Sleep(time.Second)
		_, err = n.auth.Authenticate(t.Context(), first.Token)
		wantReason(t, err, "replaced")
		_, err = n.refresh(first.Token)
		wantReason(t, err, "replaced")
		for _, token := range []string{second.Token, again.Token} {
			if _, err := n.auth.Authenticate(t.Context(), token); err != nil {
				t.Error(err)
			}
		}
	})
}

// A token two generations old is refused at once, even within the grace.
func TestRefreshRefusesOlderGenerations(t *testing.T) {
	n := newNode(t, nil)
	first := n.device(alice)
	second, err := n.refresh(first.Token)
	want(t, err, "")
	third, err := n.refresh(second.Token)
	want(t, err, "")
	_, err = n.refresh(first.Token)
	wantReason(t, err, "replaced")
	_, err = n.auth.Authenticate(t.Context(), first.Token)
	wantReason(t, err, "replaced")
	_, err = n.auth.Authenticate(t.Context(), third.Token)
	want(t, err, "")
}

func TestRefreshInParallelRotatesOnce(t *testing.T) {
	n := newNode(t, nil)
	d := n.device(alice)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			r, err := n.refresh(d.Token)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := n.auth.Authenticate(t.Context(), r.Token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := n.devices(d.Account)[0].Token.Generation; got != 2 {
		t.Errorf("the generation is %d", got)
	}
}

func TestRefreshIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		d := n.device(alice)
		for range 6 {
			var err error
			d, err = n.refresh(d.Token)
			want(t, err, "")
		}
		_, err := n.refresh(d.Token)
		e := want(t, err, protocol.CodeRate)
		time.Sleep(ms(e.AfterMS))
		_, err = n.refresh(d.Token)
		want(t, err, "")
	})
}

func TestRevoke(t *testing.T) {
	n := newNode(t, nil)
	var told []string
	n.auth.OnRemoved(func(_ context.Context, a directory.Account, d directory.Device) { told = append(told, string(a)) })
	d := n.device(alice)
	want(t, n.revoke(d.Token), "")
	if len(n.devices(d.Account)) != 0 || len(told) != 1 || told[0] != d.Account {
		t.Errorf("devices %v, told %v", n.devices(d.Account), told)
	}
	_, err := n.auth.Authenticate(t.Context(), d.Token)
	wantReason(t, err, "removed")
	_, err = n.refresh(d.Token)
	wantReason(t, err, "removed")
	wantReason(t, n.revoke(d.Token), "removed")
	wantReason(t, n.revoke(""), "missing")
}

func TestKeysRotate(t *testing.T) {
	accounts, records := directorytest.New(), callstoretest.New()
	n := newNodeOn(t, accounts, records, nil)
	old := n.device(alice)
	next := []byte(strings.Repeat("n", 32))
	b, err := auth.NewAuthenticator(t.Context(), n.config, mustKeys(next, testKey), accounts)
	want(t, err, "")
	if _, err := b.Authenticate(t.Context(), old.Token); err != nil {
		t.Errorf("a token of the old key: %v", err)
	}
	fresh, err := b.Refresh(t.Context(), old.Token)
	want(t, err, "")
	only, err := auth.NewAuthenticator(t.Context(), n.config, mustKeys(next), accounts)
	want(t, err, "")
	if _, err := only.Authenticate(t.Context(), fresh.Token); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	_, err = only.Authenticate(t.Context(), old.Token)
	wantReason(t, err, "signature")
}

// away is a directory that cannot be asked.
type away struct{ *directorytest.Fake }

func (away) DeviceOf(context.Context, directory.Account, directory.Device) (directory.DeviceRecord, error) {
	return directory.DeviceRecord{}, directory.ErrUnavailable
}

// What cannot be checked is not called bad: a device would forget its token.
func TestTokenCannotBeChecked(t *testing.T) {
	fake := directorytest.New()
	d := newNodeOn(t, fake, callstoretest.New(), nil).device(alice)
	n := newNodeOn(t, away{fake}, callstoretest.New(), nil)
	_, err := n.auth.Authenticate(t.Context(), d.Token)
	if !errors.Is(err, directory.ErrUnavailable) || protocol.CodeOf(err) != "" {
		t.Errorf("got %v", err)
	}
	want(t, n.revoke(d.Token), protocol.CodeUnavailable)
}
