package auth_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling/auth"
	"switchboard/signaling/protocol"
)

const carol = "+14155550103"

func (n *node) askNumber(token, number string) (protocol.RegisterReply, error) {
	n.t.Helper()
	return ask[protocol.RegisterReply](n, protocol.PathNumber, token, protocol.RegisterRequest{Number: number})
}

func (n *node) move(token, verification, code string) (protocol.NumberReply, error) {
	n.t.Helper()
	return ask[protocol.NumberReply](n, protocol.PathMove, token, protocol.CodeRequest{Verification: verification, Code: code})
}

func (n *node) askDelete(token string) (protocol.RegisterReply, error) {
	n.t.Helper()
	return ask[protocol.RegisterReply](n, protocol.PathDelete, token, nil)
}

func (n *node) deleteAccount(token, verification, code string) error {
	n.t.Helper()
	_, err := askWith[struct{}](n, http.MethodDelete, protocol.PathAccount, token, protocol.CodeRequest{Verification: verification, Code: code})
	return err
}

func number164(t testing.TB, text string) e164.Number {
	t.Helper()
	n, err := e164.Parse(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNumberIsChanged(t *testing.T) {
	n := newNode(t, func(c *auth.Config) { c.CodeResend = 0 })
	var moved []directory.Account
	n.auth.OnMoved(func(_ context.Context, a directory.Account) { moved = append(moved, a) })
	phone := n.device(alice)
	asked, err := n.askNumber(phone.Token, "+1 (415) 555-0103")
	want(t, err, "")
	if asked.Number.E164() != carol || n.sender.to[1] != carol || n.sender.whys[1] != auth.ToMove || n.sender.whys[0] != auth.ToRegister {
		t.Fatalf("asked %+v, sent to %v for %v", asked, n.sender.to, n.sender.whys)
	}
	code := n.sender.last()
	_, err = n.move(phone.Token, asked.Verification, wrong(code))
	if e := want(t, err, protocol.CodeCode); e.Info["attempts_left"] != "4" {
		t.Errorf("after a wrong code: %v", e.Info)
	}
	if len(moved) != 0 {
		t.Fatal("moved by a wrong code")
	}
	for range 2 { // the answer may have been lost
		got, err := n.move(phone.Token, asked.Verification, code)
		want(t, err, "")
		if got.Number.E164() != carol || got.Account != phone.Account {
			t.Fatalf("moved to %+v", got)
		}
	}
	if len(moved) != 1 {
		t.Errorf("sessions told %d times", len(moved))
	}
	id, err := n.auth.Authenticate(t.Context(), phone.Token)
	want(t, err, "")
	if id.Number.E164() != carol || id.Device != directory.Device(phone.Device) {
		t.Errorf("the token is of %+v", id)
	}
	again := n.device(alice)
	if again.Account == phone.Account {
		t.Error("the old number leads to the account that has left it")
	}
	_, err = n.askNumber(phone.Token, carol)
	want(t, err, protocol.CodeSelf)

	// Used for that number, the code is not good when the account has moved on.
	rec, err := n.accounts.MoveNumber(t.Context(), id.Account, number164(t, "+14155550104"))
	want(t, err, "")
	_, err = n.move(phone.Token, asked.Verification, code)
	want(t, err, protocol.CodeCodeExpired)
	if rec.Number.E164() != "+14155550104" {
		t.Error(rec.Number.E164())
	}
}

func TestNumberOfAnotherIsNotTaken(t *testing.T) {
	n := newNode(t, func(c *auth.Config) { c.CodeResend = 0 })
	a, b := n.device(alice), n.device(bob)
	asked, err := n.askNumber(a.Token, bob) // told nothing before he has the code
	want(t, err, "")
	_, err = n.move(a.Token, asked.Verification, n.sender.last())
	if e := want(t, err, protocol.CodeConflict); e.Info["reason"] != "number_taken" {
		t.Errorf("info %v", e.Info)
	}
	// Once the number is free, the same code does it.
	if err := n.accounts.DeleteAccount(t.Context(), directory.Account(b.Account)); err != nil {
		t.Fatal(err)
	}
	_, err = n.move(a.Token, asked.Verification, n.sender.last())
	want(t, err, "")
}

// A code is good for what it was asked for, and for who asked.
func TestCodesHaveAPurpose(t *testing.T) {
	n := newNode(t, func(c *auth.Config) { c.CodeResend, c.CodesPerHour = 0, 100 })
	a, b := n.device(alice), n.device(bob)
	register := n.mustRegister(alice)
	registerCode := n.sender.last()
	move, err := n.askNumber(a.Token, carol)
	want(t, err, "")
	moveCode := n.sender.last()
	remove, err := n.askDelete(a.Token)
	want(t, err, "")
	removeCode := n.sender.last()
	if remove.Number.E164() != alice || n.sender.whys[len(n.sender.whys)-1] != auth.ToDelete || n.sender.to[len(n.sender.to)-1] != alice {
		t.Fatalf("asked %+v, sent to %v", remove, n.sender.to)
	}
	for name, try := range map[string]func() error{
		"register deletes":     func() error { return n.deleteAccount(a.Token, register.Verification, registerCode) },
		"move deletes":         func() error { return n.deleteAccount(a.Token, move.Verification, moveCode) },
		"another's is deleted": func() error { return n.deleteAccount(b.Token, remove.Verification, removeCode) },
		"register moves":       func() error { _, err := n.move(a.Token, register.Verification, registerCode); return err },
		"delete moves":         func() error { _, err := n.move(a.Token, remove.Verification, removeCode); return err },
		"another's code moves": func() error { _, err := n.move(b.Token, move.Verification, moveCode); return err },
		"delete registers":     func() error { _, err := n.confirm(remove.Verification, removeCode); return err },
		"move registers":       func() error { _, err := n.confirm(move.Verification, moveCode); return err },
		"of no verification":   func() error { return n.deleteAccount(a.Token, "nothing", removeCode) },
	} {
		t.Run(name, func(t *testing.T) { want(t, try(), protocol.CodeCodeExpired) })
	}
	want(t, n.deleteAccount("", remove.Verification, removeCode), protocol.CodeToken)
	want(t, n.deleteAccount(a.Token[:len(a.Token)-2]+"xx", remove.Verification, removeCode), protocol.CodeToken)
	want(t, n.deleteAccount(a.Token, remove.Verification, "12345"), protocol.CodeInvalid)
	want(t, n.deleteAccount(a.Token, "", removeCode), protocol.CodeInvalid)
	_, err = n.move(a.Token, move.Verification, "a23456")
	want(t, err, protocol.CodeInvalid)
	_, err = n.askNumber(a.Token, "x")
	want(t, err, protocol.CodeNumber)
	_, err = n.askNumber("", carol)
	want(t, err, protocol.CodeToken)
	_, err = n.askDelete("")
	want(t, err, protocol.CodeToken)
	// None of that has used them up.
	_, err = n.move(a.Token, move.Verification, moveCode)
	want(t, err, "")
	// The number from which it was to be deleted is another's by now, perhaps.
	want(t, n.deleteAccount(a.Token, remove.Verification, removeCode), protocol.CodeCodeExpired)
}

func TestAccountIsDeleted(t *testing.T) {
	n := newNode(t, func(c *auth.Config) { c.CodeResend = 0 })
	var removed []directory.Device
	deleted, fail := 0, error(nil)
	n.auth.OnRemoved(func(_ context.Context, _ directory.Account, d directory.Device) { removed = append(removed, d) })
	n.auth.OnDeleted(func(context.Context, directory.Account) error { deleted++; return fail })
	a, second := n.device(alice), n.device(alice)
	asked, err := n.askDelete(a.Token)
	want(t, err, "")
	code := n.sender.last()

	// What fails halfway can be repeated, although the token's device is gone.
	fail = directory.ErrUnavailable
	want(t, n.deleteAccount(a.Token, asked.Verification, code), protocol.CodeUnavailable)
	want(t, n.deleteAccount(a.Token, asked.Verification, wrong(code)), protocol.CodeCode)
	fail = nil
	for range 2 {
		want(t, n.deleteAccount(a.Token, asked.Verification, code), "")
	}
	if deleted != 2 || len(removed) != 2 {
		t.Errorf("told of %d deletions and of devices %v", deleted, removed)
	}
	if _, err := n.accounts.AccountOf(t.Context(), directory.Account(a.Account)); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("the account: %v", err)
	}
	for _, token := range []string{a.Token, second.Token} {
		_, err := n.auth.Authenticate(t.Context(), token)
		wantReason(t, err, "removed")
		_, err = n.refresh(token)
		wantReason(t, err, "removed")
		_, err = n.askDelete(token)
		wantReason(t, err, "removed")
	}
	if again := n.device(alice); again.Account == a.Account {
		t.Error("the number leads to the deleted account")
	}
}

// What an identity system looks after is not changed behind its back.
func TestExternalAccountsAreNotChangedHere(t *testing.T) {
	i := newIssuer(t)
	n := newFileNode(t, i)
	token := i.token(nil)
	if got := n.listed(token); len(got) != 1 || got[0].Name != "laptop" {
		t.Errorf("devices: %+v", got)
	}
	_, moveErr := n.askNumber(token, carol)
	_, moveErr2 := n.move(token, "v", "123456")
	_, deleteErr := n.askDelete(token)
	for _, err := range []error{moveErr, moveErr2, deleteErr, n.deleteAccount(token, "v", "123456")} {
		if e := want(t, err, protocol.CodeForbidden); e.Info["reason"] != "external" || e.Status() != http.StatusForbidden {
			t.Errorf("got %+v", e)
		}
	}
	n.config.External.Only = true
	own := n.device(bob)
	n.metrics = prometheus.NewRegistry()
	n.start(firstKeys, n.sender)
	_, err := n.askNumber(own.Token, carol)
	want(t, err, protocol.CodeUnsupported)
}

// Codes for whatever purpose count against the same number.
func TestCodesShareTheLimitsOfTheirNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, nil)
		a := n.device(alice)
		_, err := n.askDelete(a.Token)
		want(t, err, protocol.CodeRate)
		time.Sleep(time.Minute)
		_, err = n.askDelete(a.Token)
		want(t, err, "")
		_, err = n.register(alice)
		want(t, err, protocol.CodeRate)
		asked, err := n.askNumber(a.Token, carol)
		want(t, err, "")
		_, err = n.register(carol)
		want(t, err, protocol.CodeRate)
		time.Sleep(11 * time.Minute)
		_, err = n.move(a.Token, asked.Verification, n.sender.last())
		want(t, err, protocol.CodeCodeExpired)
	})
}
