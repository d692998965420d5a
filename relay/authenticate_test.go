package relay_test

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// without is a request with all that credentials need but one attribute.
func (r *raw) without(t *testing.T, missing stun.AttrType) []byte {
	t.Helper()
	full := r.request(t, stun.MethodAllocate, udpRelay)
	setters := []stun.Setter{stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest)}
	for _, a := range full.Attributes {
		if a.Type != missing && a.Type != stun.AttrMessageIntegrity {
			setters = append(setters, a)
		}
	}
	return stun.MustBuild(append(setters, stun.NewLongTermIntegrity(r.as.username, "switchboard", r.as.password))...).Raw
}

// askOnce sends a message once and returns the code of the answer, 0 for success.
func (r *raw) askOnce(t *testing.T, b []byte) (int, *stun.Message) {
	t.Helper()
	r.send(t, b)
	answer := r.receive(t, patience)
	if answer == nil {
		t.Fatal("no answer")
	}
	var code stun.ErrorCodeAttribute
	if answer.Type.Class == stun.ClassErrorResponse && code.GetFrom(answer) != nil {
		t.Fatalf("an error without a code: %v", answer)
	}
	return int(code.Code), answer
}

// RFC 8489 section 9.2.4, in its order: who has half of the credentials hears that
// before that they are wrong, and that before that the nonce is.
func TestLongTermCredentials(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Limits.FailedAuthPerSecond = 1000 })
	good := mint(t, "call", "alice", time.Now())
	wrong := credentials{good.username, "wrong"}
	expired := mint(t, "call", "alice", time.Now().Add(-2*time.Hour))
	for _, over := range everyTransport {
		r := s.raw(t, over, good).greet(t)
		nonce := r.nonce
		for _, missing := range []stun.AttrType{stun.AttrUsername, stun.AttrRealm, stun.AttrNonce} {
			code, answer := r.askOnce(t, r.without(t, missing))
			if code != 400 || answer.Contains(stun.AttrNonce) || answer.Contains(stun.AttrRealm) || answer.Contains(stun.AttrMessageIntegrity) {
				t.Errorf("without %v over %s: %v", missing, over, answer)
			}
		}
		for _, test := range []struct {
			name  string
			as    credentials
			nonce string
			code  int
		}{
			{"a wrong password", wrong, string(nonce), 401},
			{"a wrong password and nonce", wrong, "nonsense", 401},
			{"credentials that have expired, and a wrong nonce", expired, "nonsense", 401},
			{"no name of ours", credentials{"alice", "p"}, string(nonce), 401},
			{"a wrong nonce", good, "nonsense", 438},
			{"an empty nonce", good, "", 438},
		} {
			r.as, r.nonce = test.as, stun.Nonce(test.nonce)
			code, answer := r.askOnce(t, r.request(t, stun.MethodAllocate, udpRelay).Raw)
			if code != test.code || !answer.Contains(stun.AttrNonce) || !answer.Contains(stun.AttrRealm) || answer.Contains(stun.AttrUsername) {
				t.Errorf("%s over %s: %v, want %d", test.name, over, answer, test.code)
			}
		}
		r.as, r.nonce = good, nonce
		if got := r.do(t, stun.MethodAllocate, udpRelay); got != 0 {
			t.Errorf("with what was given at first over %s: %d", over, got)
		}
	}
	if n := s.count(t, "credentials_total", "stale_nonce"); n != 6 {
		t.Errorf("%v stale nonces are counted, want 6", n)
	}
}

// The address of a client must be its own: it has to have received a nonce there.
func TestNonceFromElsewhere(t *testing.T) {
	s := start(t, nil)
	as := mint(t, "call", "alice", time.Now())
	for _, over := range everyTransport {
		here := s.raw(t, over, as).greet(t)
		there := s.raw(t, over, as)
		there.nonce = here.nonce
		if got := there.do(t, stun.MethodAllocate, udpRelay); got != 438 {
			t.Errorf("with a nonce that was sent elsewhere over %s: %d, want 438", over, got)
		}
		if got := there.do(t, stun.MethodAllocate, udpRelay); got != 0 {
			t.Errorf("with the nonce of that answer over %s: %d", over, got)
		}
	}
}

// All relays of an installation take each other's nonces, and a relay those from
// before its restart, also while the secret is being changed.
func TestNonceOfAnotherRelay(t *testing.T) {
	as := mint(t, "call", "alice", time.Now())
	first := start(t, nil)
	r := first.raw(t, "udp", as).greet(t)
	for name, secrets := range map[string][]relay.Secret{
		"the same secrets": {secretOne, secretTwo}, "another order": {secretTwo, secretOne}, "one left": {secretOne},
	} {
		next := start(t, func(c *relay.Config) { c.Secrets = secrets })
		r.server = next.raw(t, "udp", as).server
		if got := r.do(t, stun.MethodAllocate, udpRelay); got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
	changed := start(t, func(c *relay.Config) { c.Secrets = []relay.Secret{secretTwo} })
	r.server, r.as = changed.raw(t, "udp", as).server, mint(t, "call", "alice", time.Now(), secretTwo)
	if got := r.do(t, stun.MethodAllocate, udpRelay); got != 438 {
		t.Errorf("with a nonce of a secret that is gone: %d, want 438", got)
	}
	r.as = as
	if got := r.do(t, stun.MethodAllocate, udpRelay); got != 401 {
		t.Errorf("with credentials of a secret that is gone: %d, want 401", got)
	}
}

// Attributes that must be understood, and are not, are named; to strangers not before
// they have shown credentials.
func TestUnknownAttributes(t *testing.T) {
	s := start(t, nil)
	odd, optional := attribute{0x7f01, []byte("what")}, attribute{0xff01, []byte("ever")}
	for _, over := range everyTransport {
		r := s.raw(t, over, mint(t, "call", "alice", time.Now())).greet(t)
		for _, test := range []struct {
			method     stun.Method
			attributes []stun.Setter
			want       []stun.AttrType
		}{
			{stun.MethodAllocate, []stun.Setter{udpRelay, odd, optional, attribute{0x7f02, nil}}, []stun.AttrType{0x7f01, 0x7f02}},
			{stun.MethodAllocate, []stun.Setter{udpRelay, attribute{stun.AttrDontFragment, nil}}, []stun.AttrType{stun.AttrDontFragment}},
			{stun.MethodAllocate, []stun.Setter{udpRelay, attribute{stun.AttrUserhash, make([]byte, 32)}}, []stun.AttrType{stun.AttrUserhash}},
			{stun.MethodRefresh, []stun.Setter{odd}, []stun.AttrType{0x7f01}},
		} {
			code, answer := r.askOnce(t, r.request(t, test.method, test.attributes...).Raw)
			var unknown stun.UnknownAttributes
			if err := unknown.GetFrom(answer); code != 420 || err != nil || !slices.Equal([]stun.AttrType(unknown), test.want) {
				t.Errorf("%v over %s: %v, %v, want %v", test.method, over, answer, unknown, test.want)
			}
			if err := stun.NewLongTermIntegrity(r.as.username, "switchboard", r.as.password).Check(answer); err != nil {
				t.Errorf("%v over %s: %v", test.method, over, err)
			}
		}
		if code, _ := r.askOnce(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpRelay, odd).Raw); code != 401 {
			t.Errorf("a stranger over %s: %d, want 401", over, code)
		}
		code, answer := r.askOnce(t, stun.MustBuild(stun.TransactionID, stun.BindingRequest, odd).Raw)
		var unknown stun.UnknownAttributes
		if err := unknown.GetFrom(answer); code != 420 || err != nil || !slices.Equal([]stun.AttrType(unknown), []stun.AttrType{0x7f01}) {
			t.Errorf("STUN over %s: %v", over, answer)
		}
		if got := r.do(t, stun.MethodAllocate, udpRelay, optional); got != 0 {
			t.Errorf("an attribute that need not be understood over %s: %d", over, got)
		}
	}
}

// A wrong FINGERPRINT says that a message is no STUN (RFC 8489 section 14.7).
func TestFingerprint(t *testing.T) {
	s := start(t, nil)
	for i, over := range everyTransport {
		r := s.raw(t, over, mint(t, "call", "alice", time.Now())).greet(t)
		for _, m := range []*stun.Message{r.request(t, stun.MethodAllocate, udpRelay), stun.MustBuild(stun.TransactionID, stun.BindingRequest)} {
			if err := stun.Fingerprint.AddTo(m); err != nil {
				t.Fatal(err)
			}
			m.Raw[len(m.Raw)-1] ^= 1
			r.send(t, m.Raw)
			m.Raw[len(m.Raw)-1] ^= 1
			if code, _ := r.askOnce(t, m.Raw); code != 0 {
				t.Errorf("%v with the right one over %s: %d", m.Type, over, code)
			}
		}
		if n := s.count(t, "drops_total", "fingerprint"); n != float64(2*(i+1)) {
			t.Errorf("%v dropped after %s, want %d", n, over, 2*(i+1))
		}
		if s.Allocations() != i+1 {
			t.Errorf("%d allocations after %s", s.Allocations(), over)
		}
	}
}

// Who guesses hears less and less; who has credentials, at the same address, does not
// notice.
func TestFailedAuthIsLimited(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Limits.FailedAuthPerSecond, c.Limits.UnauthenticatedPerSecond = 2, 10000 })
	good := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	begin := time.Now()
	bad := s.raw(t, "udp", credentials{good.as.username, "wrong"}).greet(t)
	for range 300 {
		bad.send(t, bad.request(t, stun.MethodAllocate, udpRelay).Raw)
	}
	s.until(t, "drops_total", "failed_auth", 200)
	if got := good.try(t, 10, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh at the same address: %d", got)
	}
	s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	failed, most := s.count(t, "credentials_total", "password")-s.count(t, "drops_total", "failed_auth"), 4+2*time.Since(begin).Seconds()+1
	if failed > most || failed < 4 {
		t.Errorf("%v answers to wrong passwords, want 4 to %v", failed, most)
	}
}

// However many addresses a flood claims to come from, the relay answers so much and no
// more, and who is on it already does not notice.
func TestStrangersAreLimitedTogether(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Limits.UnauthenticatedTotalPerSecond = 5 })
	good := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	begin := time.Now()
	for i := range 50 {
		conn, err := net.ListenPacket("udp", fmt.Sprintf("127.0.1.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		r := &raw{conn: conn, server: good.server, as: credentials{good.as.username, "wrong"}, nonce: good.nonce}
		r.send(t, stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
		r.send(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpRelay).Raw)
		r.send(t, r.request(t, stun.MethodAllocate, udpRelay).Raw)
	}
	s.until(t, "drops_total", "limited_total", 100)
	if got := good.try(t, 10, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh during a flood: %d", got)
	}
	if n, most := s.count(t, "unauthenticated_answers_total", ""), 10+5*time.Since(begin).Seconds()+2; n > most {
		t.Errorf("%v answers to strangers, want at most %v", n, most)
	}
}

// While it drains or is full a relay names others, in turn, where there is one that the
// client can reach.
func TestTryAlternate(t *testing.T) {
	t.Parallel()
	others := []netip.AddrPort{netip.MustParseAddrPort("198.51.100.7:3478"), netip.MustParseAddrPort("198.51.100.8:3479")}
	for name, full := range map[string]func(*testing.T, *server){
		"draining": func(_ *testing.T, s *server) { s.Drain() },
		"full": func(t *testing.T, s *server) {
			for range 2 {
				s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, func(c *relay.Config) { c.AlternateServers, c.Quotas.Allocations = others, 2 })
			full(t, s)
			for _, over := range []string{"udp", "tcp"} {
				r := s.raw(t, over, mint(t, "call", "bob", time.Now())).greet(t)
				seen := make(map[string]int)
				for range 4 {
					code, answer := r.askOnce(t, r.request(t, stun.MethodAllocate, udpRelay).Raw)
					var to stun.AlternateServer
					if err := to.GetFrom(answer); code != 300 || err != nil {
						t.Fatalf("over %s: %v, %v", over, answer, err)
					}
					if err := stun.NewLongTermIntegrity(r.as.username, "switchboard", r.as.password).Check(answer); err != nil {
						t.Errorf("over %s: %v", over, err)
					}
					seen[net.JoinHostPort(to.IP.String(), fmt.Sprint(to.Port))]++
				}
				for _, o := range others {
					if seen[o.String()] != 2 {
						t.Errorf("over %s: %v", over, seen)
					}
				}
			}
			if got := s.raw(t, "tls", mint(t, "call", "bob", time.Now())).greet(t).do(t, stun.MethodAllocate, udpRelay); got != 508 {
				t.Errorf("over TLS: %d, want 508", got)
			}
			if n := s.count(t, "redirects_total", ""); n != 8 {
				t.Errorf("%v are counted, want 8", n)
			}
		})
	}
	t.Run("none of the family", func(t *testing.T) {
		s := start(t, func(c *relay.Config) {
			c.AlternateServers = []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::7]:3478")}
		})
		s.Drain()
		if got := s.raw(t, "udp", mint(t, "call", "bob", time.Now())).greet(t).do(t, stun.MethodAllocate, udpRelay); got != 508 {
			t.Errorf("%d, want 508", got)
		}
	})
	t.Run("over IPv6", func(t *testing.T) {
		s := start(t, func(c *relay.Config) {
			c.Listen, c.TLS.Listen, c.AlternateServers = "[::1]:0", "[::1]:0", []netip.AddrPort{netip.MustParseAddrPort("[2001:db8::7]:3478")}
		})
		s.Drain()
		r := s.raw(t, "udp", mint(t, "call", "bob", time.Now())).greet(t)
		_, answer := r.askOnce(t, r.request(t, stun.MethodAllocate, udpRelay).Raw)
		var to stun.AlternateServer
		if err := to.GetFrom(answer); err != nil || stun.MappedAddress(to).String() != "[2001:db8::7]:3478" {
			t.Errorf("%v, %v", answer, err)
		}
	})
	t.Run("who has enough", func(t *testing.T) {
		s := start(t, func(c *relay.Config) { c.AlternateServers, c.Quotas.AllocationsPerUser = others, 1 })
		s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
		if got := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).greet(t).do(t, stun.MethodAllocate, udpRelay); got != 486 {
			t.Errorf("%d, want 486", got)
		}
	})
}
