package relay_test

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// clientHello returns the first bytes that a TLS client sends.
func clientHello(t testing.TB) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() {
		tls.Client(client, &tls.Config{InsecureSkipVerify: true, ServerName: "relay.example.org"}).Handshake()
		client.Close()
	}()
	b := make([]byte, 4096)
	server.SetReadDeadline(time.Now().Add(patience))
	n, err := server.Read(b)
	if err != nil || n < 100 {
		t.Fatalf("ClientHello of %d bytes: %v", n, err)
	}
	return b[:n]
}

// Two hundred connections say half of what begins TLS. All are closed at the deadline,
// and meanwhile others connect.
func TestHalfOpenTLS(t *testing.T) {
	t.Parallel()
	const connections = 200
	s := start(t, roomy(func(c *relay.Config) { c.Limits.HandshakeTimeout = 2 * time.Second }))
	hello := clientHello(t)
	var open []net.Conn
	for i := range connections {
		conn, err := net.Dial("tcp", s.address("tls"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.Write(hello[:len(hello)*(i%10)/10]) // some say nothing, some all but a little
		open = append(open, conn)
	}
	r := s.caller(t, "tls") // while they are there
	f, relayed := r.meet(t)
	f.say(t, relayed, "served")
	if _, data := dataOf(t, r.packet(t, patience)); data != "served" {
		t.Errorf("%q", data)
	}
	var wg sync.WaitGroup
	for i, conn := range open {
		wg.Go(func() { expectClosed(t, i, conn) })
	}
	wg.Wait()
	s.until(t, "connection_ends_total", "handshake", connections)
	eventually(t, "only one connection is left", func() bool { return s.count(t, "connections", "tls") == 1 })
	s.caller(t, "tls")
	r.done(t, r.request(t, stun.MethodRefresh))
}

// Clients that read nothing, while their peers send all they can, lose their own
// connections and no more. What waits for them takes no memory of the process.
func TestSlowReaders(t *testing.T) { // not in parallel: it measures the heap
	if testing.Short() {
		t.Skip("takes as long as a client may not read")
	}
	s := start(t, roomy(nil))
	const slow = 4
	var peers []far
	var relayed []netip.AddrPort
	for i := range slow {
		over := []string{"tcp", "tls"}[i%2]
		plain, err := net.Dial("tcp", s.address(over))
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		plain.(*net.TCPConn).SetReadBuffer(4096)
		conn := plain
		if over == "tls" {
			conn = tls.Client(plain, &tls.Config{InsecureSkipVerify: true})
		}
		r := s.rawOn(t, conn, mint(t, "call", t.Name(), time.Now())).allocated(t)
		f, at := r.meet(t)
		r.bind(t, 0x4000, f.at())
		peers, relayed = append(peers, f), append(relayed, at)
	}
	var others []*raw
	var at []far
	for _, over := range everyTransport {
		r := s.caller(t, over)
		f, _ := r.meet(t)
		r.bind(t, 0x4000, f.at())
		others, at = append(others, r), append(at, f)
	}
	runtime.GC()
	before := heap()
	most := before
	packet := make([]byte, 1400)
	for end := time.Now().Add(3 * patience); s.count(t, "connection_ends_total", "stalled") < slow; {
		if time.Now().After(end) {
			t.Fatalf("%v connections have ended of %d", s.count(t, "connection_ends_total", "stalled"), slow)
		}
		for range 50 {
			for i, f := range peers {
				f.WriteToUDPAddrPort(packet, relayed[i])
			}
		}
		for i, r := range others {
			r.send(t, channelData(0x4000, []byte("others are served")))
			at[i].expect(t, "others are served")
		}
		most = max(most, heap())
		time.Sleep(5 * time.Millisecond)
	}
	if grown := int64(most) - int64(before); grown > 16<<20 {
		t.Errorf("%d bytes for %d clients that do not read", grown, slow)
	}
	eventually(t, "their allocations end", func() bool { return s.Allocations() == len(others) })
	for _, r := range others {
		r.done(t, r.request(t, stun.MethodRefresh))
	}
}

// heap is what the process has in use, in bytes, garbage included.
func heap() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Oversize frames and noise end the connection that they come in, or nothing.
func TestNoiseOnStreams(t *testing.T) {
	t.Parallel()
	s := start(t, roomy(nil))
	stay := s.caller(t, "tcp")
	noise := [][]byte{
		bytes.Repeat([]byte{0x16, 0x03, 0x01}, 1000),                                          // TLS inside of TLS
		append([]byte{0x00, 0x01, 0xff, 0xfc, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 3000)...), // a request of 65,536 bytes
		channelData(0x4000, make([]byte, 60000)),                                              // of a stranger
		{0x00, 0x01, 0x00, 0x01, 0x21, 0x12, 0xa4, 0x42},                                      // an odd length
		{0xff, 0xff, 0xff, 0xff},
	}
	for _, over := range []string{"tcp", "tls"} {
		for i, b := range noise {
			conn := s.dialStream(t, over)
			conn.Write(b)
			expectClosed(t, i, conn)
		}
	}
	s.until(t, "connection_ends_total", "garbage", float64(2*len(noise)))
	stay.done(t, stay.request(t, stun.MethodRefresh))
}
