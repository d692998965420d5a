package relay_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// RFC 8489 section 9.2: long-term credentials.
func TestLongTermMechanism(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	as := mint(t, "call", "alice", time.Now())
	allocate := stun.NewType(stun.MethodAllocate, stun.ClassRequest)
	integrity := stun.NewLongTermIntegrity(as.username, "switchboard", as.password)

	// challenged fails unless an answer has what a client needs to try again.
	challenged := func(t *testing.T, answer *stun.Message, code int) {
		t.Helper()
		var realm stun.Realm
		var nonce stun.Nonce
		if got := codeOf(answer); got != code {
			t.Errorf("%d, want %d", got, code)
		}
		if realm.GetFrom(answer) != nil || realm.String() != "switchboard" || nonce.GetFrom(answer) != nil || len(nonce) == 0 {
			t.Errorf("realm %q, nonce %q", realm, nonce)
		}
		if answer.Contains(stun.AttrUsername) || answer.Contains(stun.AttrUserhash) || answer.Contains(stun.AttrMessageIntegrity) {
			t.Errorf("the answer has what it must not: %v", answer)
		}
	}
	t.Run("without credentials", func(t *testing.T) {
		for _, over := range everyTransport {
			m := stun.MustBuild(stun.TransactionID, allocate, udpRelay)
			challenged(t, s.raw(t, over, as).ask(t, m), 401)
		}
	})
	t.Run("nonces are random", func(t *testing.T) {
		nonce := s.raw(t, "udp", as).greet(t).nonce
		if other := conforming(t, nil).raw(t, "udp", as).greet(t).nonce; bytes.Equal(nonce, other) {
			t.Errorf("two relays have one nonce: %q", nonce)
		}
	})
	t.Run("no security features are announced", func(t *testing.T) {
		if nonce := s.raw(t, "udp", as).greet(t).nonce; bytes.HasPrefix(nonce, []byte("obMatJos2")) {
			t.Errorf("nonce %q", nonce)
		}
		answer := s.raw(t, "udp", as).ask(t, stun.MustBuild(stun.TransactionID, allocate, udpRelay))
		if answer.Contains(stun.AttrPasswordAlgorithms) {
			t.Error("PASSWORD-ALGORITHMS")
		}
	})
	for name, missing := range map[string]stun.AttrType{
		"without USERNAME": stun.AttrUsername, "without REALM": stun.AttrRealm, "without NONCE": stun.AttrNonce,
	} {
		t.Run(name, func(t *testing.T) {
			r := s.raw(t, "udp", as).greet(t)
			setters := []stun.Setter{stun.TransactionID, allocate, udpRelay}
			for kind, value := range map[stun.AttrType][]byte{stun.AttrUsername: []byte(as.username), stun.AttrRealm: []byte("switchboard"), stun.AttrNonce: r.nonce} {
				if kind != missing {
					setters = append(setters, attribute{kind, value})
				}
			}
			answer := r.ask(t, stun.MustBuild(append(setters, integrity)...))
			if got := codeOf(answer); got != 400 {
				t.Errorf("%d, want 400", got)
			}
			if answer.Contains(stun.AttrUsername) || answer.Contains(stun.AttrNonce) || answer.Contains(stun.AttrRealm) {
				t.Errorf("the answer has what it should not: %v", answer)
			}
		})
	}
	t.Run("another nonce", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		r.nonce = stun.NewNonce("none of this relay's")
		answer := r.ask(t, r.request(t, stun.MethodAllocate, udpRelay))
		challenged(t, answer, 438)
		r.takeNonce(t, answer)
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
	})
	t.Run("a nonce of another relay", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		r.nonce = conforming(t, nil).raw(t, "udp", as).greet(t).nonce
		challenged(t, r.ask(t, r.request(t, stun.MethodAllocate, udpRelay)), 438)
	})
	t.Run("an unknown user", func(t *testing.T) {
		r := s.raw(t, "udp", credentials{"mallory", "secret"}).greet(t)
		challenged(t, r.ask(t, r.request(t, stun.MethodAllocate, udpRelay)), 401)
	})
	t.Run("another password", func(t *testing.T) {
		r := s.raw(t, "udp", credentials{as.username, "secret"}).greet(t)
		challenged(t, r.ask(t, r.request(t, stun.MethodAllocate, udpRelay)), 401)
	})
	t.Run("another realm", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		m := stun.MustBuild(stun.TransactionID, allocate, udpRelay, stun.NewUsername(as.username), stun.NewRealm("elsewhere"), r.nonce,
			stun.NewLongTermIntegrity(as.username, "elsewhere", as.password))
		challenged(t, r.ask(t, m), 401)
	})
	t.Run("a changed message", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		m := r.request(t, stun.MethodAllocate, udpRelay, stun.NewSoftware("before"))
		at := bytes.Index(m.Raw, []byte("before"))
		copy(m.Raw[at:], "behind")
		challenged(t, r.ask(t, m), 401)
	})
	t.Run("answers have MESSAGE-INTEGRITY", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		for _, m := range []*stun.Message{
			r.request(t, stun.MethodAllocate, udpRelay), r.request(t, stun.MethodRefresh), r.request(t, stun.MethodCreatePermission, peer("127.0.0.1:5000")),
			r.request(t, stun.MethodChannelBind, channel(0x4000), peer("127.0.0.1:5000")),
			r.request(t, stun.MethodAllocate, udpRelay), r.request(t, stun.MethodCreatePermission), r.request(t, stun.MethodChannelBind), // errors
		} {
			if err := integrity.Check(r.ask(t, m)); err != nil {
				t.Errorf("%v: %v", m.Type, err)
			}
		}
	})
	t.Run("attributes after MESSAGE-INTEGRITY", func(t *testing.T) { // and nobody has said them
		r := s.raw(t, "udp", as).allocated(t)
		m := r.request(t, stun.MethodRefresh)
		m.Add(stun.AttrLifetime, make([]byte, 4))
		if got := lifetimeIn(t, r.done(t, m)); got != 600 {
			t.Errorf("LIFETIME %d", got)
		}
		r.done(t, r.request(t, stun.MethodRefresh)) // it is still there
	})
	t.Run("FINGERPRINT after MESSAGE-INTEGRITY", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		m := r.request(t, stun.MethodAllocate, udpRelay)
		if err := stun.Fingerprint.AddTo(m); err != nil {
			t.Fatal(err)
		}
		r.done(t, m)
	})
	t.Run("another FINGERPRINT after MESSAGE-INTEGRITY", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		m := r.request(t, stun.MethodAllocate, udpRelay)
		if err := stun.Fingerprint.AddTo(m); err != nil {
			t.Fatal(err)
		}
		m.Raw[len(m.Raw)-1] ^= 1
		r.unanswered(t, m.Raw)
	})
	t.Run("USERHASH", func(t *testing.T) {
		r := s.raw(t, "udp", as).greet(t)
		answer := r.ask(t, stun.MustBuild(stun.TransactionID, allocate, udpRelay, attribute{stun.AttrUserhash, make([]byte, 32)}, stun.NewRealm("switchboard"), r.nonce, integrity))
		if got := codeOf(answer); got != 400 {
			t.Errorf("%d, want 400", got)
		}
	})
	t.Run("MESSAGE-INTEGRITY-SHA256 alone", func(t *testing.T) { // as if there were no credentials
		r := s.raw(t, "udp", as).greet(t)
		m := stun.MustBuild(stun.TransactionID, allocate, udpRelay, stun.NewUsername(as.username), stun.NewRealm("switchboard"), r.nonce, attribute{stun.AttrMessageIntegritySHA256, make([]byte, 32)})
		challenged(t, r.ask(t, m), 401)
	})
	t.Run("indications are not authenticated", func(t *testing.T) {
		r := s.raw(t, "udp", as).allocated(t)
		f, _ := r.meet(t)
		r.sendTo(t, f.at(), "with a MESSAGE-INTEGRITY that is wrong", attribute{stun.AttrMessageIntegrity, make([]byte, 20)})
		f.expect(t, "with a MESSAGE-INTEGRITY that is wrong")
	})
}

// OpaqueString (RFC 8489 section 9.2.2) leaves credentials as they are: what is minted
// is printable ASCII. Passwords are too long to be guessed.
func TestMintedCredentialsNeedNoPreparation(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"alice", "älice", "\u00a0", "\u212b\u0344", ""} {
		as := mint(t, user, user, time.Now())
		for _, s := range []string{as.username, as.password} {
			if i := strings.IndexFunc(s, func(c rune) bool { return c <= ' ' || c > '~' }); i >= 0 {
				t.Errorf("%q has %q", s, s[i])
			}
		}
		if len(as.password) < 43 {
			t.Errorf("a password of %d characters", len(as.password))
		}
	}
}

// A relay that drains sends new clients elsewhere, or says that it has no room, and
// serves those that it has.
func TestWhileItDrains(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	r := s.caller(t, "udp")
	f, _ := r.meet(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ended) // an allocation is left, which is what it says
	for _, over := range everyTransport {
		other := s.newcomer(t, over)
		answer := other.ask(t, other.request(t, stun.MethodAllocate, udpRelay))
		switch code := codeOf(answer); {
		case code == 300 && answer.Contains(stun.AttrAlternateServer), code == 508:
		default:
			t.Errorf("over %s: %d, %v", over, code, answer)
		}
	}
	r.done(t, r.request(t, stun.MethodRefresh))
	r.bind(t, 0x4000, f.at())
	r.send(t, channelData(0x4000, []byte("still relayed")))
	f.expect(t, "still relayed")
}
