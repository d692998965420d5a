package relay_test

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
	"switchboard/relay/natlab"
)

// An allocation of a client that is gone ends when its lifetime has passed, and not before.
func TestVirtualExpiry(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		alice := l.behind("alice", natlab.PortRestricted)
		a := l.allocate(t, alice, "udp")
		defer a.close()
		began := time.Now()
		alice.Crash()
		for l.relay.Server().Allocations() > 0 {
			time.Sleep(time.Second)
		}
		if took := time.Since(began); took < 599*time.Second || took > 602*time.Second {
			t.Errorf("the allocation lasted %v", took)
		}
	})
}

// A permission that nobody refreshes ends after five minutes, though the allocation lasts.
func TestVirtualPermissionExpires(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		peer := listen(t, l.behind("peer"))
		defer peer.Close()
		r := l.raw(t, l.behind("alice"))
		defer r.conn.Close()
		relayed := r.relayedOf(t, peer)
		began := time.Now()
		for _, step := range []struct {
			at    time.Duration
			heard bool
		}{{0, true}, {299 * time.Second, true}, {301 * time.Second, false}} {
			time.Sleep(step.at - time.Since(began))
			if _, err := peer.WriteTo([]byte("hello"), relayed); err != nil {
				t.Fatal(err)
			}
			if got := r.packet(t, time.Second/2); (got != nil) != step.heard {
				t.Errorf("after %v: heard %x", step.at, got)
			}
		}
		if n := l.relay.Server().Allocations(); n != 1 {
			t.Errorf("%d allocations", n)
		}
	})
}

// Credentials open allocations for an hour, and then keep what they have opened until
// max_call has passed.
func TestVirtualCredentialsExpire(t *testing.T) {
	inLab(t, func(c *relay.Config) { c.MaxCall = 2 * time.Hour }, func(t *testing.T, l *lab) {
		began := time.Now()
		alice := l.raw(t, l.behind("alice"))
		defer alice.conn.Close()
		bob := l.raw(t, l.behind("bob"))
		defer bob.conn.Close()
		if code := alice.greet(t).do(t, stun.MethodAllocate, udpRelay); code != 0 {
			t.Fatalf("allocate: %d", code)
		}
		bob.greet(t)
		for _, step := range []struct {
			at     time.Duration
			client *raw
			method stun.Method
			want   int
		}{
			{59 * time.Minute, bob, stun.MethodAllocate, 0},
			{59 * time.Minute, bob, stun.MethodRefresh, 0},
			{61 * time.Minute, bob, stun.MethodRefresh, 0}, // to end it
			{62 * time.Minute, bob, stun.MethodAllocate, 401},
			{2 * time.Hour, alice, stun.MethodRefresh, 0},
			{179 * time.Minute, alice, stun.MethodRefresh, 0},
			{181 * time.Minute, alice, stun.MethodRefresh, 401},
		} {
			for time.Since(began) < step.at {
				time.Sleep(min(5*time.Minute, step.at-time.Since(began)))
				if time.Since(began) < 3*time.Hour {
					refreshed(t, alice)
				}
			}
			with := []stun.Setter{udpRelay}
			if step.method == stun.MethodRefresh {
				with = []stun.Setter{lifetime(600)}
			}
			if step.at == 61*time.Minute {
				with = []stun.Setter{lifetime(0)}
			}
			code := step.client.do(t, step.method, with...)
			if code == 438 {
				code = step.client.do(t, step.method, with...)
			}
			if code != step.want {
				t.Errorf("after %v: %v: %d, want %d", step.at, step.method, code, step.want)
			}
		}
		time.Sleep(11 * time.Minute)
		if n := l.relay.Server().Allocations(); n != 0 {
			t.Errorf("after max_call there are %d allocations", n)
		}
	})
}

// refreshed refreshes an allocation, whatever the nonce.
func refreshed(t *testing.T, r *raw) {
	t.Helper()
	code := r.do(t, stun.MethodRefresh, lifetime(600))
	if code == 438 {
		code = r.do(t, stun.MethodRefresh, lifetime(600))
	}
	if code != 0 {
		t.Fatalf("refresh: %d", code)
	}
}

// A relay that drains takes nobody any more, ends what carries no media, and comes to an
// end when the last call does.
func TestVirtualDrain(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		media, idle, peer := l.allocate(t, l.behind("alice", natlab.Symmetric), "udp"), l.allocate(t, l.behind("bob"), "tcp"), listen(t, l.behind("peer"))
		defer media.close()
		defer idle.close()
		defer peer.Close()
		l.relay.Drain()
		began, ended := time.Now(), make(chan error, 1)
		go func() { ended <- l.relay.Server().Shutdown(t.Context()) }()
		late := l.raw(t, l.behind("late"))
		defer late.conn.Close()
		if code := late.greet(t).do(t, stun.MethodAllocate, udpRelay); code != 508 {
			t.Errorf("late: %d", code)
		}
		if err := media.CreatePermission(peer.LocalAddr()); err != nil {
			t.Fatal(err)
		}
		const packet = "\x80 is how RTP begins"
		for time.Since(began) < 10*time.Minute {
			media.send(t, packet, peer.LocalAddr())
			if got := nextOf(t, peer); !strings.HasPrefix(got, packet) {
				t.Fatalf("after %v: %q", time.Since(began), got)
			}
			want := 2
			if time.Since(began) > 90*time.Second {
				want = 1
			}
			if n := l.relay.Server().Allocations(); n != want && (time.Since(began) < 75*time.Second || want == 1) {
				t.Fatalf("after %v there are %d allocations", time.Since(began), n)
			}
			time.Sleep(5 * time.Second)
		}
		last := time.Now()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if took := time.Since(last); took > 30*time.Second {
			t.Errorf("it took %v to end after the last media", took)
		}
	})
}

// The policy of peers is the real one: private and shared networks are not to be reached,
// nor the relay's own services.
func TestVirtualPolicy(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		r := l.raw(t, l.behind("alice", natlab.FullCone))
		defer r.conn.Close()
		r.allocated(t)
		for i, test := range []struct {
			peer string
			want int
		}{
			{"192.168.0.2:5000", 403}, {"10.0.0.1:5000", 403}, {"172.16.0.1:5000", 403}, {"100.64.0.1:5000", 403}, {"127.0.0.1:5000", 403},
			{"169.254.169.254:5000", 403}, {"198.19.0.1:5000", 403}, {"198.18.0.77:53", 403},
			{netip.AddrPortFrom(l.relay.Host().Addrs()[0], 3478).String(), 403}, {"198.18.0.77:5000", 0}, {"8.8.8.8:5000", 0},
		} {
			if code := r.do(t, stun.MethodChannelBind, channel(0x4000+uint16(i)), peer(test.peer)); code != test.want {
				t.Errorf("%s: %d, want %d", test.peer, code, test.want)
			}
		}
	})
}

// Clients of both families have relayed addresses of theirs.
func TestVirtualFamilies(t *testing.T) {
	inLab(t, nil, func(t *testing.T, l *lab) {
		alice := l.behind("alice")
		for _, is6 := range []bool{false, true} {
			f := family(1)
			if is6 {
				f = family(2)
			}
			at := alice.Addrs()[0]
			for _, a := range alice.Addrs() {
				if a.Is6() == is6 {
					at = a
				}
			}
			conn, err := alice.ListenPacket("udp", netip.AddrPortFrom(at, 0).String())
			if err != nil {
				t.Fatal(err)
			}
			r := l.raw(t, alice)
			r.conn.Close()
			r.conn = conn
			for _, a := range l.relay.Host().Addrs() {
				if a.Is6() == is6 {
					r.server = net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 3478))
				}
			}
			answer := r.done(t, r.greet(t).request(t, stun.MethodAllocate, udpRelay))
			if a := addressIn(t, answer, stun.AttrXORRelayedAddress).Addr(); a.Is6() {
				t.Errorf("a client at %v that asks for nothing has %v", at, a)
			}
			if code := r.do(t, stun.MethodRefresh, lifetime(0)); code != 0 {
				t.Fatal(code)
			}
			if a := addressIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay, f)), stun.AttrXORRelayedAddress).Addr(); a.Is6() != is6 {
				t.Errorf("a client at %v that asks has %v", at, a)
			}
			conn.Close()
		}
	})
}
