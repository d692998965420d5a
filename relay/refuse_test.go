package relay_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

func TestAllocateIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, over := range everyTransport {
		for _, test := range []struct {
			name       string
			attributes []stun.Setter
			code       int
			counted    string
		}{
			{"TCP to peers", []stun.Setter{tcpRelay}, 442, "tcp_relay"},
			{"an even port", []stun.Setter{udpRelay, attribute{stun.AttrEvenPort, []byte{0x80}}}, 508, "even_port"},
			{"a reserved port", []stun.Setter{udpRelay, attribute{stun.AttrReservationToken, make([]byte, 8)}}, 508, "even_port"},
			{"IPv6 where there is none", []stun.Setter{udpRelay, family(2)}, 440, "family"},
			{"no transport", nil, 400, ""},
			{"another transport", []stun.Setter{attribute{stun.AttrRequestedTransport, []byte{132, 0, 0, 0}}}, 442, ""},
		} {
			r := s.raw(t, over, mint(t, "call", "alice", time.Now())).greet(t)
			if got := r.do(t, stun.MethodAllocate, test.attributes...); got != test.code {
				t.Errorf("%s over %s: %d, want %d", test.name, over, got, test.code)
			}
			if test.counted != "" && s.count(t, "refusals_total", test.counted) == 0 {
				t.Errorf("%s: not counted", test.name)
			}
		}
	}
	if n := s.Allocations(); n != 0 {
		t.Errorf("%d allocations", n)
	}
}

// A client hears at once that its allocation is gone, as after a restart of the
// relay, and not after all its repeats.
func TestRequestsWithoutAllocation(t *testing.T) {
	s := start(t, nil)
	for _, over := range everyTransport {
		r := s.raw(t, over, mint(t, "call", "alice", time.Now())).greet(t)
		for _, method := range []stun.Method{stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
			if got := r.do(t, method, peer("127.0.0.1:5000"), channel(0x4000)); got != 437 {
				t.Errorf("%v over %s: %d, want 437", method, over, got)
			}
		}
		r.as = mint(t, "call", "alice", time.Now(), relay.Secret{ID: "one", Key: []byte("of somebody else")})
		if got := r.do(t, stun.MethodRefresh); got != 401 {
			t.Errorf("with a forged password over %s: %d, want 401", over, got)
		}
	}
}

// What has no credentials is told to have some, where the relay does what it asks for,
// and is not answered otherwise.
func TestRequestsWithoutCredentials(t *testing.T) {
	s := start(t, nil)
	for _, over := range everyTransport {
		r := s.raw(t, over, mint(t, "call", "alice", time.Now())).allocated(t)
		for _, method := range []stun.Method{stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
			r.send(t, stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest), channel(0x4000), peer("127.0.0.1:5000")).Raw)
			var code stun.ErrorCodeAttribute
			if m := r.receive(t, patience); m == nil || code.GetFrom(m) != nil || code.Code != 401 || m.Type.Method != method || !m.Contains(stun.AttrRealm) {
				t.Errorf("%v over %s: %v", method, over, m)
			} else {
				r.takeNonce(t, m)
			}
		}
		before := s.count(t, "drops_total", "method")
		for _, method := range []stun.Method{stun.MethodConnect, stun.MethodConnectionBind, stun.MethodSend} {
			r.send(t, stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest), channel(0x4000), peer("127.0.0.1:5000")).Raw)
		}
		if got := r.do(t, stun.MethodRefresh); got != 0 {
			t.Errorf("with credentials over %s: %d", over, got)
		}
		if n := s.count(t, "drops_total", "method") - before; n != 3 {
			t.Errorf("%v of 3 dropped over %s", n, over)
		}
	}
}

func TestAllocationBelongsToWhoOpenedIt(t *testing.T) {
	s := start(t, nil)
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	r.as = mint(t, "call", "bob", time.Now())
	for _, method := range []stun.Method{stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
		if got := r.do(t, method, peer("127.0.0.1:5000"), channel(0x4000)); got != 441 {
			t.Errorf("%v: %d, want 441", method, got)
		}
	}
	r.as = mint(t, "call", "alice", time.Now().Add(time.Minute)) // minted anew
	if got := r.do(t, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh: %d", got)
	}
}

// Credentials keep what they opened, until the longest call is over.
func TestCredentialsThatExpiredDuringTheCall(t *testing.T) {
	s := start(t, func(c *relay.Config) { c.MaxCall = 2 * time.Minute })
	minted := time.Now().Add(-160 * time.Second) // all at one moment: a user's tag changes at midnight
	lasting := func(life time.Duration) (c credentials) {
		t.Helper()
		m, err := relay.NewMinter([]relay.Secret{secretOne}, life)
		if err != nil {
			t.Fatal(err)
		}
		c.username, c.password, _ = m.Mint("call", "alice", minted, minted)
		return c
	}
	r := s.raw(t, "udp", lasting(time.Hour)).allocated(t)
	r.as = lasting(70 * time.Second)
	if got := r.do(t, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh with credentials that expired 90 seconds ago: %d", got)
	}
	r.as = lasting(10 * time.Second)
	if got := r.do(t, stun.MethodRefresh); got != 401 {
		t.Errorf("refresh with credentials that expired 150 seconds ago: %d, want 401", got)
	}
}

func TestPeersAreRefused(t *testing.T) {
	s := start(t, nil)
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	for _, p := range []string{"169.254.169.254:5000", "224.0.0.1:5000", "0.0.0.0:5000", "198.51.100.1:5000"} {
		if got := r.do(t, stun.MethodCreatePermission, peer(p)); got != 403 {
			t.Errorf("permission for %s: %d, want 403", p, got)
		}
		if got := r.do(t, stun.MethodChannelBind, channel(0x4000), peer(p)); got != 403 {
			t.Errorf("channel to %s: %d, want 403", p, got)
		}
	}
	for _, p := range []string{"127.0.0.1:53", "127.0.0.1:0", "8.8.8.8:123", s.address("udp"), s.address("tls")} {
		if got := r.do(t, stun.MethodChannelBind, channel(0x4000), peer(p)); got != 403 {
			t.Errorf("channel to %s: %d, want 403", p, got)
		}
	}
	for _, n := range []uint16{0, 0x3fff, 0x8000, 0xffff} {
		if got := r.do(t, stun.MethodChannelBind, channel(n), peer("127.0.0.1:5000")); got != 400 {
			t.Errorf("channel %#x: %d, want 400", n, got)
		}
	}
	if got := r.do(t, stun.MethodChannelBind, channel(0x7fff), peer("127.0.0.1:5000")); got != 0 {
		t.Errorf("channel 0x7fff: %d", got)
	}
}

// Permissions have no port; so each packet is judged.
func TestPacketsAreDenied(t *testing.T) {
	s := start(t, nil)
	listening, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listening.Close()
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	if got := r.do(t, stun.MethodCreatePermission, peer("127.0.0.1:0")); got != 0 {
		t.Fatalf("permission: %d", got)
	}
	for i, p := range []string{"127.0.0.1:53", s.address("udp"), "127.0.0.1:0"} {
		m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer(p), attribute{stun.AttrData, []byte("hello")})
		r.send(t, m.Raw)
		s.until(t, "denied_peers_total", "", float64(i+1))
	}
	if up := s.count(t, "packets_total", "up"); up != 0 {
		t.Errorf("%v packets were relayed", up)
	}
	m := stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer(listening.LocalAddr().String()), attribute{stun.AttrData, []byte("hello")})
	r.send(t, m.Raw)
	b := make([]byte, 10)
	listening.SetReadDeadline(time.Now().Add(patience))
	if n, _, err := listening.ReadFrom(b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("an allowed packet: %q, %v", b[:n], err)
	}
}

func TestQuotas(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name   string
		quotas func(*relay.Quotas)
		who    func(i int) (call, user string)
		code   int
		want   string
	}{
		{"user", func(q *relay.Quotas) { q.AllocationsPerUser = 3 }, func(i int) (string, string) { return fmt.Sprint(i), "alice" }, 486, "quota_user"},
		{"call", func(q *relay.Quotas) { q.AllocationsPerCall = 3 }, func(i int) (string, string) { return "call", fmt.Sprint(i) }, 486, "quota_call"},
		{"source", func(q *relay.Quotas) { q.AllocationsPerSource = 3 }, func(i int) (string, string) { return fmt.Sprint(i), fmt.Sprint(i) }, 486, "quota_source"},
		{"total", func(q *relay.Quotas) { q.Allocations = 3 }, func(i int) (string, string) { return fmt.Sprint(i), fmt.Sprint(i) }, 508, "quota_total"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t, func(c *relay.Config) { test.quotas(&c.Quotas) })
			var open []*raw
			for i := range 3 {
				call, user := test.who(i)
				open = append(open, s.raw(t, everyTransport[i], mint(t, call, user, now)).allocated(t))
			}
			call, user := test.who(4)
			r := s.raw(t, "udp", mint(t, call, user, now)).greet(t)
			if got := r.do(t, stun.MethodAllocate, udpRelay); got != test.code {
				t.Fatalf("one too many: %d, want %d", got, test.code)
			}
			if s.count(t, "refusals_total", test.want) != 1 {
				t.Errorf("not counted as %s", test.want)
			}
			if got := open[1].do(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}); got != 0 {
				t.Fatalf("refresh: %d", got)
			}
			eventually(t, "one ended", func() bool { return s.Allocations() == 2 })
			if got := r.do(t, stun.MethodAllocate, udpRelay); got != 0 {
				t.Errorf("after one has ended: %d", got)
			}
		})
	}
}

// Requests that fail count for nothing, so that they cannot use up a quota.
func TestQuotasCountWhatExists(t *testing.T) {
	s := start(t, func(c *relay.Config) {
		c.Quotas.AllocationsPerUser, c.Quotas.AllocationsPerSource, c.Quotas.Allocations = 1, 1, 1
	})
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).greet(t)
	for range 20 {
		for _, a := range [][]stun.Setter{{udpRelay, dontFragment}, {udpRelay, family(2)}, {tcpRelay}} {
			if got := r.do(t, stun.MethodAllocate, a...); got < 400 {
				t.Fatalf("allocate: %d", got)
			}
		}
	}
	for range 3 {
		if got := r.do(t, stun.MethodAllocate, udpRelay); got != 0 {
			t.Fatalf("allocate: %d", got)
		}
		if got := r.do(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}); got != 0 {
			t.Fatalf("refresh: %d", got)
		}
		eventually(t, "the allocation ended", func() bool { return s.count(t, "allocations", "") == 0 })
	}
}

// The end of an allocation does not end the next one of the same client.
func TestAllocateAgainAtOnce(t *testing.T) {
	s := start(t, nil)
	for _, over := range everyTransport {
		r := s.raw(t, over, mint(t, "call", "alice", time.Now())).allocated(t)
		for range 300 {
			r.send(t, r.request(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}).Raw)
			r.send(t, r.request(t, stun.MethodAllocate, udpRelay).Raw)
			for range 2 {
				if m := r.receive(t, patience); m == nil || m.Type.Class != stun.ClassSuccessResponse {
					t.Fatalf("over %s: %v", over, m)
				}
			}
			if got := r.do(t, stun.MethodRefresh); got != 0 {
				t.Fatalf("the next allocation over %s: %d", over, got)
			}
		}
	}
}

func TestQuotasOfAnAllocation(t *testing.T) {
	s := start(t, func(c *relay.Config) { c.Quotas.Permissions, c.Quotas.Channels = 2, 3 })
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	for i, want := range []int{0, 0, 508} {
		if got := r.do(t, stun.MethodCreatePermission, peer(fmt.Sprintf("127.0.0.%d:5000", i+1))); got != want {
			t.Errorf("permission %d: %d, want %d", i, got, want)
		}
	}
	if got := r.do(t, stun.MethodCreatePermission, peer("127.0.0.1:5000")); got != 0 {
		t.Errorf("the first permission again: %d", got)
	}
	if got := r.do(t, stun.MethodChannelBind, channel(0x4000), peer("127.0.0.3:5000")); got != 508 {
		t.Errorf("a channel to a peer without permission: %d, want 508", got)
	}
	for i, want := range []int{0, 0, 0, 508} {
		if got := r.do(t, stun.MethodChannelBind, channel(uint16(0x4000+i)), peer(fmt.Sprintf("127.0.0.1:%d", 5000+i))); got != want {
			t.Errorf("channel %d: %d, want %d", i, got, want)
		}
	}
	if got := r.do(t, stun.MethodChannelBind, channel(0x4000), peer("127.0.0.1:5000")); got != 0 {
		t.Errorf("the first channel again: %d", got)
	}
}

func TestDrain(t *testing.T) {
	s := start(t, nil)
	if err := s.Ready(); err != nil {
		t.Fatal(err)
	}
	as := mint(t, "call", "alice", time.Now())
	_, conn := s.allocate(t, "udp", as)
	r := s.raw(t, "tcp", as).allocated(t)

	now, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(now); !errors.Is(err, context.Canceled) {
		t.Fatalf("Shutdown without time: %v", err)
	}
	if err := s.Ready(); !errors.Is(err, relay.ErrDraining) {
		t.Errorf("Ready: %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- s.Shutdown(context.Background()) }()

	exchange(t, conn, echo(t), "still relayed")
	if got := r.do(t, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh: %d", got)
	}
	if got := s.raw(t, "udp", as).greet(t).do(t, stun.MethodAllocate, udpRelay); got != 508 {
		t.Errorf("a new allocation: %d, want 508", got)
	}
	if _, err := s.client(t, "udp", credentials{}).SendBindingRequest(); err != nil {
		t.Errorf("STUN: %v", err)
	}
	conn.Close()
	eventually(t, "one ended", func() bool { return s.Allocations() == 1 })
	select {
	case err := <-drained:
		t.Fatalf("drained with an allocation left: %v", err)
	default:
	}
	r.conn.Close() // a connection that ends takes its allocation with it
	select {
	case err := <-drained:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Error("not drained")
	}
}

// While a relay drains, an allocation that only checks go through is ended, and one
// with media is not.
func TestDrainEndsWhatCarriesNoMedia(t *testing.T) {
	s := start(t, nil)
	const unused = 400 * time.Millisecond
	relay.SetUnusedFor(s.Server, unused)
	peer := echo(t)
	_, media := s.allocate(t, "udp", mint(t, "call", "alice", time.Now()))
	_, checks := s.allocate(t, "udp", mint(t, "call", "bob", time.Now()))
	_, back := s.allocate(t, "udp", mint(t, "call", "carol", time.Now()))
	rtp, check := []byte("\x80rtp"), []byte("\x00\x01check")
	exchange(t, media, peer, string(rtp))
	exchange(t, checks, peer, string(check))

	// To carol media comes and she sends none: first she lets it in.
	far, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if _, err := back.WriteTo(check, far.LocalAddr()); err != nil {
		t.Fatal(err)
	}

	drained := make(chan error, 1)
	go func() { drained <- s.Shutdown(context.Background()) }()
	eventually(t, "it drains", func() bool { return s.Ready() != nil })
	for end := time.Now().Add(6 * unused); time.Now().Before(end); time.Sleep(unused / 20) {
		for conn, b := range map[net.PacketConn][]byte{media: rtp, checks: check} {
			_, _ = conn.WriteTo(b, peer) // fails once it has been ended
		}
		_, _ = far.WriteTo(rtp, back.LocalAddr())
	}
	if n := s.Allocations(); n != 2 || s.count(t, "unused_total", "") != 1 { // after 4 times as long, as it had none before
		t.Errorf("%d allocations are left, %v were ended, want 2 and 1", n, s.count(t, "unused_total", ""))
	}
	exchange(t, media, peer, string(rtp))
	eventually(t, "with the media they end, too", func() bool { return s.Allocations() == 0 })
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Serve ends with its context and leaves nothing behind, whatever is open.
func TestServeEnds(t *testing.T) {
	s := start(t, nil)
	for _, over := range everyTransport {
		s.raw(t, over, mint(t, "call", "alice", time.Now())).allocated(t)
	}
	s.dialStream(t, "tls") // says nothing
	s.dialStream(t, "tcp")
	s.until(t, "connections", "tcp", 2)
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if n := s.Allocations(); n != 0 {
		t.Errorf("%d allocations", n)
	}
	if n := s.count(t, "connections", ""); n != 0 {
		t.Errorf("%v connections", n)
	}
	if err := s.Ready(); !errors.Is(err, relay.ErrNotServing) {
		t.Errorf("Ready: %v", err)
	}
	if err := s.Serve(context.Background()); err == nil {
		t.Error("serves twice")
	}
}
