package relay_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// Who sees requests and their nonce go by, and does not know the password, can neither
// use them elsewhere nor make others of them.
func TestCapturedCredentials(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	for _, over := range everyTransport {
		victim := s.newcomer(t, over)
		captured := victim.request(t, stun.MethodAllocate, udpRelay)
		victim.done(t, captured)
		end := victim.request(t, stun.MethodRefresh, lifetime(0))

		// The username and the nonce, without the password.
		thief := s.raw(t, over, credentials{victim.as.username, "guessed"})
		thief.nonce = victim.nonce
		if got := codeOf(thief.ask(t, thief.request(t, stun.MethodAllocate, udpRelay))); got != 401 && got != 438 {
			t.Errorf("without the password over %s: %d, want 401 or 438", over, got)
		}
		// The integrity of another request.
		forged := victim.request(t, stun.MethodRefresh, lifetime(0))
		integrity, err := captured.Get(stun.AttrMessageIntegrity)
		if err != nil {
			t.Fatal(err)
		}
		copy(forged.Raw[len(forged.Raw)-20:], integrity)
		if got := codeOf(thief.ask(t, forged)); got != 401 && got != 437 && got != 438 {
			t.Errorf("with another integrity over %s: %d, want 401, 437 or 438", over, got)
		}
		// The request that ends the allocation, from elsewhere: it ends nothing of the victim's.
		if got := codeOf(thief.ask(t, end)); got != 437 && got != 438 {
			t.Errorf("the end from elsewhere over %s: %d, want 437 or 438", over, got)
		}
		victim.done(t, victim.request(t, stun.MethodRefresh))
		if over != "udp" {
			continue
		}
		// The request as it was, from an address that no nonce was sent to: this would be
		// an allocation in the name of somebody who never asked.
		for _, host := range []string{"127.0.0.1", "127.9.9.9"} {
			conn, err := net.ListenPacket("udp", host+":0")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			elsewhere := &raw{conn: conn, server: victim.server, as: victim.as}
			if got := codeOf(elsewhere.ask(t, captured)); got != 438 {
				t.Errorf("the request from %s: %d, want 438", host, got)
			}
		}
	}
}

// A request that is sent again does again what it did, and opens nothing.
func TestCapturedRequest(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	r := s.newcomer(t, "udp")
	captured := r.request(t, stun.MethodAllocate, udpRelay)
	first := r.done(t, captured)
	for range 100 {
		if again := r.done(t, captured); !bytes.Equal(again.Raw, first.Raw) {
			t.Fatalf("answered with %v, and then with %v", first, again)
		}
	}
	if n := s.Allocations(); n != 1 {
		t.Errorf("%d allocations", n)
	}
	// Another user's allocation on the 5-tuple is not touched by requests of before.
	end := r.request(t, stun.MethodRefresh, lifetime(0))
	r.done(t, end)
	r.as = mint(t, "call", "bob", time.Now())
	r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
	if got := codeOf(r.ask(t, end)); got != 441 {
		t.Errorf("the end of the allocation before: %d, want 441", got)
	}
	r.done(t, r.request(t, stun.MethodRefresh))
}

// Credentials that have expired open nothing, and those of a secret that was taken away
// do nothing at all, also for an allocation that they have opened.
func TestExpiredAndRevokedCredentials(t *testing.T) {
	t.Parallel()
	with := func(secrets ...relay.Secret) *server {
		return conforming(t, func(c *relay.Config) { c.Secrets = secrets })
	}
	both, one := with(secretTwo, secretOne), with(secretTwo)
	old := mint(t, "call", "alice", time.Now())
	code := func(s *server, as credentials, over string) int {
		r := s.raw(t, over, as).greet(t)
		return codeOf(r.ask(t, r.request(t, stun.MethodAllocate, udpRelay)))
	}
	for _, over := range everyTransport {
		if got := code(both, old, over); got != 0 {
			t.Errorf("of the second secret over %s: %d", over, got)
		}
		if got := code(one, old, over); got != 401 {
			t.Errorf("of a secret that was taken away over %s: %d, want 401", over, got)
		}
		if got := code(one, mint(t, "call", "alice", time.Now(), secretTwo), over); got != 0 {
			t.Errorf("of the new secret over %s: %d", over, got)
		}
		if got := code(both, mint(t, "call", "alice", time.Now().Add(-time.Hour-2*time.Second)), over); got != 401 {
			t.Errorf("expired over %s: %d, want 401", over, got)
		}
		r := one.raw(t, over, mint(t, "call", "alice", time.Now(), secretTwo)).allocated(t)
		r.as = old // of the same user
		for _, method := range []stun.Method{stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
			if got := codeOf(r.ask(t, r.request(t, method, channel(0x4000), peer("127.0.0.1:5000")))); got != 401 {
				t.Errorf("%v with credentials of before over %s: %d, want 401", method, over, got)
			}
		}
	}
}

// What an allocation sends to its own relayed address does not go round for ever.
func TestToItself(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	r := s.caller(t, "udp")
	f, relayed := r.meet(t)
	if got := codeOf(r.ask(t, r.request(t, stun.MethodChannelBind, channel(0x4000), peer(relayed.String())))); got == 0 {
		for range 10 {
			r.unanswered(t, channelData(0x4000, []byte("round and round")))
		}
	}
	r.permit(t, relayed.String())
	r.unanswered(t, sendIndication(peer(relayed.String()), attribute{stun.AttrData, []byte("round and round")}))
	f.say(t, relayed, "the end")
	if _, data := dataOf(t, r.packet(t, patience)); data != "the end" {
		t.Errorf("%q came back", data)
	}
}
