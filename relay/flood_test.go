package relay_test

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// overhead is what a UDP packet over IPv4 has around it on Ethernet, in bytes.
const overhead = 14 + 20 + 8

// Whoever sends in the name of somebody else has the relay send little more to
// them than it was sent, with the longest realm that is allowed.
func TestAnswersToStrangersAreSmall(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Realm = "a-realm-of-24-characters" })
	r := s.raw(t, "udp", credentials{"1:one:call:user", "wrong"})
	methods := []stun.Method{stun.MethodBinding, stun.MethodAllocate, stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind, stun.MethodConnect, stun.MethodConnectionBind}
	answered := 0
	ask := func(m *stun.Message) {
		r.send(t, m.Raw)
		answer := r.receive(t, 100*time.Millisecond)
		if answer == nil {
			return
		}
		answered++
		if factor := float64(len(answer.Raw)+overhead) / float64(len(m.Raw)+overhead); factor > 1.9 {
			t.Errorf("%v of %d bytes is answered with %d: %.2f times", m.Type, len(m.Raw), len(answer.Raw), factor)
		}
	}
	for _, method := range methods {
		bare := stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest))
		ask(bare)
		ask(stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest), udpRelay))
		ask(stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest), attribute{stun.AttrMessageIntegrity, nil}))
		ask(stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest), attribute{stun.AttrMessageIntegrity, make([]byte, 20)}))
		ask(stun.MustBuild(stun.TransactionID, stun.NewType(method, stun.ClassRequest), attribute{0x7fff, nil}))
		ask(r.request(t, method))
	}
	if answered < 8 {
		t.Errorf("%d answers: the test asks nothing that is answered", answered)
	}
}

// A flood is answered up to the limit. Who has credentials does not notice it,
// and who has them wrong counts as without.
func TestFlood(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Limits.UnauthenticatedPerSecond = 5 })
	good := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	bad := s.raw(t, "udp", credentials{good.as.username, "wrong"})
	bad.nonce = good.nonce
	begin := time.Now()
	const flood = 3000
	for i := range flood {
		switch i % 3 {
		case 0:
			bad.send(t, stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw)
		case 1:
			bad.send(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), udpRelay).Raw)
		case 2:
			bad.send(t, bad.request(t, stun.MethodAllocate, udpRelay).Raw)
		}
	}
	s.until(t, "drops_total", "limited", 100)
	if got := good.try(t, 10, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh during a flood: %d", got)
	}
	most := 10 + 5*time.Since(begin).Seconds() + 1
	if answers := s.count(t, "unauthenticated_answers_total", ""); answers > most {
		t.Errorf("%v answers to strangers, want at most %v", answers, most)
	}
}

func TestGarbageOverUDP(t *testing.T) {
	s := start(t, nil)
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t)
	for _, b := range garbage {
		r.send(t, b)
	}
	if got := r.do(t, stun.MethodRefresh); got != 0 {
		t.Errorf("refresh after garbage: %d", got)
	}
	if got := s.raw(t, "udp", r.as).greet(t).do(t, stun.MethodAllocate, udpRelay); got != 0 {
		t.Errorf("allocate after garbage: %d", got)
	}
}

var garbage = [][]byte{
	{},
	{0},
	[]byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"),
	{0x40, 0x00, 0xff, 0xfc, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // a length that wraps in 16 bits
	{0x40, 0x00, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	{0x40, 0x00, 0x00, 0x00},
	{0x7f, 0xff, 0x00, 0x08, 1, 2, 3, 4},
	{0x80, 0x60, 0x00, 0x01, 1, 2, 3, 4, 1, 2, 3, 4}, // RTP
	{0x16, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, // DTLS
	{0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x43, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
	{0x00, 0x01, 0x00, 0x03, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 1, 2, 3},
	{0x00, 0x01, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12},
	{0x00, 0x03, 0x00, 0x04, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x00, 0x19, 0x00, 0x40},
	bytes.Repeat([]byte{0}, 1700),
	bytes.Repeat([]byte{0xff}, 1700),
	append([]byte{0x40, 0x00, 0x07, 0xd0}, make([]byte, 2000)...),
}

func TestGarbageOverTCP(t *testing.T) {
	t.Parallel()
	for _, over := range []string{"tcp", "tls"} {
		t.Run(over, func(t *testing.T) {
			s := start(t, func(c *relay.Config) {
				c.Limits.HandshakeTimeout, c.Limits.IdleTimeout = time.Second, time.Second
			})
			var open []net.Conn
			for _, b := range garbage {
				conn := s.dialStream(t, over)
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
				open = append(open, conn)
				plain, err := net.Dial("tcp", s.address(over)) // not even TLS
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { plain.Close() })
				plain.Write(b)
				open = append(open, plain)
			}
			for i, conn := range open {
				expectClosed(t, i/2, conn)
			}
			eventually(t, "no connection is left", func() bool { return s.count(t, "connections", over) == 0 })
			s.raw(t, over, mint(t, "call", "alice", time.Now())).allocated(t)
		})
	}
}

func expectClosed(t *testing.T, i int, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patience))
	b := make([]byte, 100)
	for {
		_, err := conn.Read(b)
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("garbage %d: the connection stays", i)
		}
		if err != nil {
			return
		}
	}
}
