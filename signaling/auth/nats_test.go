package auth_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
	"switchboard/signaling/auth"
	"switchboard/signaling/callstore"
	"switchboard/signaling/protocol"
)

func openRecords(t testing.TB, n *natsnode.Node) *callstore.Store {
	t.Helper()
	c := callstore.Default()
	c.Bucket = "CODES"
	s, err := callstore.Open(t.Context(), n.JetStream(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// On the real stores: register, guess from two nodes at once, confirm, refresh,
// restart, revoke.
func TestOnNATS(t *testing.T) {
	dir := t.TempDir()
	server := directorytest.NATSIn(t, dir)
	accounts := directorytest.OpenOnly(t, server, "n1", nil)
	first := newNodeOn(t, accounts, openRecords(t, server), nil)
	second := newNodeOn(t, directorytest.OpenOnly(t, server, "n2", nil), openRecords(t, server), nil)

	asked := first.mustRegister(alice)
	_, err := second.register(alice)
	want(t, err, protocol.CodeRate)
	d, err := second.confirm(asked.Verification, first.sender.last())
	want(t, err, "")

	guessed := first.mustRegister(bob)
	code := first.sender.last()
	var told atomic.Int32
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			n := []*node{first, second}[i%2]
			_, err := n.confirm(guessed.Verification, wrong(code))
			switch protocol.CodeOf(err) {
			case protocol.CodeCode:
				told.Add(1)
			case protocol.CodeCodeExpired:
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if told.Load() != 5 {
		t.Errorf("%d guesses were judged", told.Load())
	}
	_, err = second.confirm(guessed.Verification, code)
	want(t, err, protocol.CodeCodeExpired)

	fresh, err := first.refresh(d.Token)
	want(t, err, "")

	// A restart forgets neither the limits nor the device.
	if err := server.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	_, err = first.register("+14155550103")
	want(t, err, protocol.CodeUnavailable)
	server = directorytest.NATSIn(t, dir)
	third := newNodeOn(t, directorytest.OpenOnly(t, server, "n1", nil), openRecords(t, server), nil)
	_, err = third.register(alice)
	want(t, err, protocol.CodeRate)
	_, err = third.confirm(asked.Verification, first.sender.codes[0])
	want(t, err, protocol.CodeCodeExpired) // it was used, and its token refreshed
	_, err = third.auth.Authenticate(t.Context(), fresh.Token)
	want(t, err, "")
	want(t, third.revoke(fresh.Token), "")
	_, err = third.auth.Authenticate(t.Context(), fresh.Token)
	wantReason(t, err, "removed")
}

// Devices that are added at the same moment are not more than there may be.
func TestManyDevicesAtOnce(t *testing.T) {
	server := directorytest.NATSIn(t, t.TempDir())
	accounts, records := directorytest.OpenOnly(t, server, "n1", nil), openRecords(t, server)
	n := newNodeOn(t, accounts, records, func(c *auth.Config) { c.CodeResend, c.CodesPerHour = 0, 100 })
	var account string
	for range directory.MaxDevices - 2 {
		account = n.device(alice).Account
	}
	var verifications, codes []string
	for range 8 {
		verifications, codes = append(verifications, n.mustRegister(alice).Verification), append(codes, n.sender.last())
	}
	var wg sync.WaitGroup
	for i := range codes {
		wg.Go(func() {
			_, err := n.confirm(verifications[i], codes[i])
			if err != nil && protocol.CodeOf(err) != protocol.CodeUnavailable {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(n.devices(account)); got > directory.MaxDevices {
		t.Errorf("there are %d devices", got)
	}
}
