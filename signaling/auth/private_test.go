package auth_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	dto "github.com/prometheus/client_model/go"

	"switchboard/directory/directorytest"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

// Whatever happens, no log line, no error and no metric holds a number, a code
// or a token, and no record's key a number.
func TestNothingPrivateLeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer(t)
		spy := &keySpy{Fake: callstoretest.New()}
		accounts := &flaky{Fake: directorytest.New()}
		n := newNodeOn(t, accounts, spy, func(c *auth.Config) {
			trusting(c)
			c.External.JWKSFile = i.file()
			c.AddressPerHour, c.AddressBurst = 60, 40
		})
		secrets := []string{"4155550101", "415 555", "4155550102", "hunter2"}
		var errs []error
		see := func(err error) { errs = append(errs, err) }

		asked := n.mustRegister(alice)
		code := n.sender.last()
		_, err := n.register(alice)
		see(err)
		_, err = n.register("+1 415 555 01 0")
		see(err)
		_, err = n.confirm(asked.Verification, wrong(code))
		see(err)
		_, err = n.confirm(asked.Verification, "hunter2")
		see(err)
		accounts.before = 1
		_, err = n.confirm(asked.Verification, code)
		see(err)
		d, err := n.confirm(asked.Verification, code)
		want(t, err, "")
		external := i.token(nil)
		_, err = n.auth.Authenticate(t.Context(), external)
		want(t, err, "")
		fresh, err := n.refresh(d.Token)
		want(t, err, "")
		time.Sleep(3 * time.Minute)
		for _, token := range []string{
			d.Token, d.Token + "x", d.Token[:len(d.Token)-9], "x" + d.Token, external + "x",
			i.token(jwt.MapClaims{"phone_number": "hunter2"}), i.token(jwt.MapClaims{"device_id": "hunter2\n"}),
			i.sign(jwt.SigningMethodEdDSA, i.ed, "hunter2", nil), forge(t, d, jwt.SigningMethodHS256, testKey, func(h map[string]any, c jwt.MapClaims) {
				h["kid"], c["dev"] = "hunter2", "hunter2"
			}),
		} {
			secrets = append(secrets, parts(token)...)
			_, err := n.auth.Authenticate(t.Context(), token)
			see(err)
			_, err = n.refresh(token)
			see(err)
			see(n.revoke(token))
		}
		n.sender.fail = errors.New("gateway is down")
		_, err = n.register(bob)
		see(err)
		spy.Fail(callstore.ErrUnavailable)
		time.Sleep(time.Minute)
		_, err = n.register(bob)
		see(err)
		spy.Fail(errors.New("something else"))
		_, err = n.register(bob)
		see(err)
		secrets = append(secrets, n.sender.codes...)
		secrets = append(secrets, parts(fresh.Token)...)
		secrets = append(secrets, asked.Verification)

		for _, e := range errs {
			if e == nil {
				t.Error("something went well that was to fail")
				continue
			}
			pe, _ := errors.AsType[*protocol.Error](e)
			hide(t, "an error", fmt.Sprintf("%v %+v", e, pe), secrets)
		}
		if n.log.Len() == 0 {
			t.Error("nothing was logged")
		}
		hide(t, "the log", n.log.String(), secrets)
		families, err := n.metrics.Gather()
		want(t, err, "")
		closed := labels()
		for _, f := range families {
			hide(t, "a metric", f.String(), secrets)
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					if !closed[l.GetValue()] {
						t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), l.GetValue())
					}
				}
			}
		}
		wantMetric(t, families, "switchboard_auth_requests_total", "ok")
		wantMetric(t, families, "switchboard_auth_codes_sent_total", "failed")
		wantMetric(t, families, "switchboard_auth_tokens_checked_total", "replaced")
		hide(t, "a key", strings.Join(spy.keys, " "), secrets)
	})
}

// keySpy keeps the keys of records.
type keySpy struct {
	*callstoretest.Fake
	keys []string
}

func (k *keySpy) Create(ctx context.Context, key string, data []byte, ttl time.Duration) (uint64, error) {
	k.keys = append(k.keys, key)
	return k.Fake.Create(ctx, key, data, ttl)
}

// parts are those of a token that must not be seen: its claims, as they are and
// decoded, and its signature.
func parts(token string) []string {
	var found []string
	for i, p := range strings.Split(token, ".") {
		if i > 0 && len(p) > 8 {
			found = append(found, p)
		}
		if b, err := base64.RawURLEncoding.DecodeString(p); err == nil && i == 1 {
			found = append(found, string(b))
		}
	}
	return found
}

func hide(t testing.TB, where, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s holds %q: %s", where, s, text)
		}
	}
}

// labels are all values that labels may have.
func labels() map[string]bool {
	all := map[string]bool{}
	for _, v := range strings.Fields("ok error failed undeliverable own external unchecked register confirm refresh revoke " +
		"missing malformed signature expired not_yet audience claims number replaced removed unverified") {
		all[v] = true
	}
	for _, c := range protocol.Codes {
		all[string(c.Code)] = true
	}
	return all
}

func wantMetric(t testing.TB, families []*dto.MetricFamily, name, label string) {
	t.Helper()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label && m.GetCounter().GetValue() > 0 {
					return
				}
			}
		}
	}
	t.Errorf("%s does not count %s", name, label)
}
