package auth_test

import (
	"errors"
	"fmt"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/directory/directorytest"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore"
	"switchboard/signaling/callstore/callstoretest"
	"switchboard/signaling/protocol"
)

func TestRegisterAndConfirm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		asked, err := ask[protocol.RegisterReply](n, protocol.PathRegister, "", protocol.RegisterRequest{Number: "(415) 555-0101", Region: "us"})
		if err != nil {
			t.Fatal(err)
		}
		if asked.Number.E164() != alice || asked.Digits != 6 || asked.AttemptsLeft != 5 ||
			ms(asked.ExpiresMS) != 10*time.Minute || ms(asked.ResendMS) != time.Minute || asked.Verification == "" {
			t.Errorf("got %+v with number %s", asked, asked.Number.E164())
		}
		if got := n.sender.to[0]; got != alice {
			t.Errorf("the code was sent to %s", got)
		}
		if !regexp.MustCompile(`^\d{6}$`).MatchString(n.sender.last()) {
			t.Error("the code is not six digits")
		}
		got, err := n.confirm(asked.Verification, n.sender.last())
		if err != nil {
			t.Fatal(err)
		}
		if got.Number.E164() != alice || got.Device != 1 || !within(ms(got.ExpiresMS), 30*24*time.Hour) {
			t.Errorf("got %+v", got)
		}
		id, err := n.auth.Authenticate(t.Context(), got.Token)
		if err != nil {
			t.Fatal(err)
		}
		if string(id.Account) != got.Account || uint32(id.Device) != got.Device || id.Number.E164() != alice || !within(time.Until(id.Expires), 30*24*time.Hour) {
			t.Errorf("got identity %+v", id)
		}
		if d := n.devices(got.Account); len(d) != 1 || d[0].Name != "phone" {
			t.Errorf("got devices %+v", d)
		}
	})
}

func TestRegisterSecondDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		first := n.device(alice)
		time.Sleep(time.Minute)
		second := n.device("+1 415 555 01 01")
		if first.Account != second.Account || first.Device == second.Device {
			t.Errorf("got %s/%d and %s/%d", first.Account, first.Device, second.Account, second.Device)
		}
		if other := n.device(bob); other.Account == first.Account {
			t.Error("two numbers share an account")
		}
	})
}

func TestRegisterRefusesWhatIsNoNumber(t *testing.T) {
	n := newNode(t, nil)
	for _, c := range []struct{ number, region, reason string }{
		{"", "", "not_a_number"},
		{"call me", "US", "not_a_number"},
		{"4155550101", "", "unknown_region"},
		{"+1415555", "", "too_short"},
		{"+1415555010199", "", "too_long"},
		{"+14155550101 ext 5", "", "extension_given"},
		{"+11111111111", "", "not_assignable"},
	} {
		_, err := ask[protocol.RegisterReply](n, protocol.PathRegister, "", protocol.RegisterRequest{Number: c.number, Region: c.region})
		if e := want(t, err, protocol.CodeNumber); e.Info["reason"] != c.reason || e.Retry {
			t.Errorf("%q: got %+v, want reason %s", c.number, e, c.reason)
		}
	}
	if n.sender.len() != 0 {
		t.Error("a code was sent")
	}
}

func TestNumberWaitsForAnotherCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.mustRegister(alice)
		_, err := n.register(alice)
		if e := want(t, err, protocol.CodeRate); !within(ms(e.AfterMS), time.Minute) || !e.Retry {
			t.Errorf("got %+v", e)
		}
		n.mustRegister(bob) // others do not wait
		time.Sleep(time.Minute - time.Millisecond)
		_, err = n.register(alice)
		want(t, err, protocol.CodeRate)
		time.Sleep(time.Millisecond)
		n.mustRegister(alice)
	})
}

func TestNumberGetsSoManyCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		start := time.Now()
		for i := range 5 {
			r := n.mustRegister(alice)
			left := time.Minute
			if i == 4 { // the fifth: the next one waits for the first to be an hour ago
				left = time.Until(start.Add(time.Hour))
			}
			if !within(ms(r.ResendMS), left) {
				t.Errorf("after %d codes: another in %v, want %v", i+1, ms(r.ResendMS), left)
			}
			time.Sleep(time.Minute)
		}
		_, err := n.register(alice)
		if e := want(t, err, protocol.CodeRate); !within(ms(e.AfterMS), 55*time.Minute) {
			t.Errorf("another in %v", ms(e.AfterMS))
		}
		time.Sleep(time.Until(start.Add(time.Hour)))
		n.mustRegister(alice)
		// Ten a day.
		for n.sender.len() < 10 {
			time.Sleep(time.Hour)
			n.mustRegister(alice)
		}
		time.Sleep(time.Hour)
		_, err = n.register(alice)
		want(t, err, protocol.CodeRate)
		time.Sleep(time.Until(start.Add(24 * time.Hour)))
		n.mustRegister(alice)
	})
}

// A failed message counts: it may have been sent, and costs the gateway.
func TestFailedCodesCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		n.sender.fail = errors.New("gateway is down")
		_, err := n.register(alice)
		if e := want(t, err, protocol.CodeUnavailable); !within(ms(e.AfterMS), time.Minute) {
			t.Errorf("another in %v", ms(e.AfterMS))
		}
		n.sender.fail = nil
		_, err = n.register(alice)
		want(t, err, protocol.CodeRate)
	})
}

func TestUndeliverableNumber(t *testing.T) {
	n := newNode(t, nil)
	n.sender.fail = fmt.Errorf("gateway: %w", auth.ErrUndeliverable)
	_, err := n.register(alice)
	if e := want(t, err, protocol.CodeNumber); e.Info["reason"] != "undeliverable" || e.Retry {
		t.Errorf("got %+v", e)
	}
}

// The limits of a number are with the records: neither a restart nor another
// node forgets them.
func TestNodesShareTheLimitsOfNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		accounts, records := directorytest.New(), callstoretest.New()
		first := newNodeOn(t, accounts, records, nil)
		asked := first.mustRegister(alice)
		second := newNodeOn(t, accounts, records, nil)
		_, err := second.register(alice)
		want(t, err, protocol.CodeRate)
		if _, err := second.confirm(asked.Verification, first.sender.last()); err != nil {
			t.Errorf("another node does not take the code: %v", err)
		}
	})
}

func TestRegisterInParallelSendsOnce(t *testing.T) {
	n := newNode(t, nil)
	errs := make(chan error)
	for range 20 {
		go func() { _, err := n.register(alice); errs <- err }()
	}
	sent := 0
	for range 20 {
		if err := <-errs; err == nil {
			sent++
		} else if protocol.CodeOf(err) != protocol.CodeRate {
			t.Error(err)
		}
	}
	if sent != 1 || n.sender.len() != 1 {
		t.Errorf("%d requests were granted, %d codes sent", sent, n.sender.len())
	}
}

func TestSourceLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(c *auth.Config) { c.AddressPerHour, c.AddressBurst = 60, 3 })
		number := 0
		try := func(from string) error {
			n.from = from
			number++
			_, err := n.register(fmt.Sprintf("+141555501%02d", number))
			return err
		}
		for range 3 {
			want(t, try("192.0.2.1:1000"), "")
		}
		e := want(t, try("192.0.2.1:2000"), protocol.CodeRate)
		if !within(ms(e.AfterMS), time.Minute) {
			t.Errorf("again in %v", ms(e.AfterMS))
		}
		want(t, try("192.0.2.2:1000"), "")
		want(t, try("[::ffff:192.0.2.1]:1000"), protocol.CodeRate)
		for i := range 3 {
			want(t, try(fmt.Sprintf("[2001:db8:1:2%d::1]:1000", i)), "")
		}
		want(t, try("[2001:db8:1:2f:ffff::1%25eth0]:1000"), protocol.CodeRate)
		want(t, try("[2001:db8:1:100::1]:1000"), "")
		time.Sleep(time.Minute)
		want(t, try("192.0.2.1:1000"), "")
		want(t, try("192.0.2.1:1000"), protocol.CodeRate)
	})
}

// Guessing codes and tokens is limited by source; good tokens are not.
func TestSourceLimitCountsGuesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, func(c *auth.Config) { c.AddressPerHour, c.AddressBurst = 60, 4 })
		d := n.device(alice) // two requests
		for range 2 {
			_, err := n.refresh("nonsense")
			want(t, err, protocol.CodeToken)
		}
		_, err := n.refresh("nonsense")
		want(t, err, protocol.CodeRate)
		want(t, n.revoke("nonsense"), protocol.CodeRate)
		_, err = n.confirm("ABC", "123456")
		want(t, err, protocol.CodeRate)
		_, err = n.refresh(d.Token)
		want(t, err, "")
	})
}

func TestRegisterWhenRecordsAreAway(t *testing.T) {
	records := callstoretest.New()
	n := newNodeOn(t, directorytest.New(), records, nil)
	asked := n.mustRegister(alice)
	records.Fail(callstore.ErrUnavailable)
	_, err := n.register(bob)
	want(t, err, protocol.CodeUnavailable)
	_, err = n.confirm(asked.Verification, n.sender.last())
	want(t, err, protocol.CodeUnavailable)
	records.Fail(nil)
	_, err = n.confirm(asked.Verification, n.sender.last())
	want(t, err, "")
}

func TestExternalOnly(t *testing.T) {
	n := newNode(t, func(c *auth.Config) {
		c.External.JWKSFile, c.External.Issuer, c.External.Audience, c.External.Only = newIssuer(t).file(), "https://id.example", "phones", true
	})
	_, err := n.register(alice)
	want(t, err, protocol.CodeUnsupported)
	_, err = n.confirm("ABC", "123456")
	want(t, err, protocol.CodeUnsupported)
}
