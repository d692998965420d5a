package relay_test

import (
	"encoding/binary"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/stun/v4"
)

// RFC 8656 section 11: Send and Data indications.
func TestIndications(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	t.Run("both ways", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.newcomer(t, over)
			relayed := addressIn(t, r.done(t, r.request(t, stun.MethodAllocate, udpRelay)), stun.AttrXORRelayedAddress)
			f := newFar(t, "127.0.0.1")
			r.permit(t, f.at())
			for _, size := range []int{0, 1, 2, 3, 4, 5, 172, 1200, 1500} {
				data := strings.Repeat("y", size)
				r.sendTo(t, f.at(), data)
				if from := f.expect(t, data); from != relayed {
					t.Errorf("from %v, want %v", from, relayed)
				}
				f.say(t, relayed, data)
				if from, got := dataOf(t, r.packet(t, patience)); got != data || from.String() != f.at() {
					t.Errorf("%d bytes over %s: %d from %v", size, over, len(got), from)
				}
			}
		}
	})
	t.Run("have no answer", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("data")}))
	})
	t.Run("to a port", func(t *testing.T) { // though permissions have none
		r := s.caller(t, "udp")
		r.meet(t)
		g := newFar(t, "127.0.0.1")
		r.sendTo(t, g.at(), "to you")
		g.expect(t, "to you")
	})
	t.Run("unknown optional attribute", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.sendTo(t, f.at(), "data", attribute{0xfffe, nil})
		f.expect(t, "data")
	})

	// What is not relayed: the peer receives what was sent after it.
	data := attribute{stun.AttrData, []byte("data")}
	for _, test := range []struct {
		name       string
		attributes func(at string) []stun.Setter
	}{
		{"without XOR-PEER-ADDRESS", func(string) []stun.Setter { return []stun.Setter{data} }},
		{"without DATA", func(at string) []stun.Setter { return []stun.Setter{peer(at)} }},
		{"with a malformed XOR-PEER-ADDRESS", func(string) []stun.Setter {
			return []stun.Setter{attribute{stun.AttrXORPeerAddress, []byte{0, 9, 1, 2, 3, 4, 5, 6}}, data}
		}},
		{"unknown required attribute", func(at string) []stun.Setter { return []stun.Setter{peer(at), data, attribute{0x7fff, nil}} }},
		{"DONT-FRAGMENT", func(at string) []stun.Setter { return []stun.Setter{peer(at), data, dontFragment} }},
		{"of another family", func(string) []stun.Setter { return []stun.Setter{peer("[::1]:5000"), data} }},
		{"to a port that is denied", func(string) []stun.Setter { return []stun.Setter{peer("127.0.0.1:53"), data} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, over := range everyTransport {
				r := s.caller(t, over)
				f, _ := r.meet(t)
				r.unanswered(t, sendIndication(test.attributes(f.at())...))
				r.sendTo(t, f.at(), "after it")
				f.expect(t, "after it")
			}
		})
	}
	t.Run("without a permission", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.caller(t, over)
			f := newFar(t, "127.0.0.9")
			r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("too early")}))
			r.permit(t, f.at())
			r.sendTo(t, f.at(), "after it")
			f.expect(t, "after it")
		}
	})
	t.Run("without an allocation", func(t *testing.T) {
		s.raw(t, "udp", credentials{}).unanswered(t, sendIndication(peer("127.0.0.1:5000"), data))
	})
	t.Run("Data indications of a client", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.unanswered(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodData, stun.ClassIndication), peer(f.at()), data).Raw)
	})
	t.Run("nothing of a peer that cannot be reached", func(t *testing.T) { // no ICMP (11.5), and no end
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		gone := newFar(t, "127.0.0.1")
		at := gone.at()
		gone.Close()
		for range 5 {
			r.unanswered(t, sendIndication(peer(at), data))
		}
		f.say(t, relayed, "others are heard")
		if _, got := dataOf(t, r.packet(t, patience)); got != "others are heard" {
			t.Errorf("%q", got)
		}
	})
}

// RFC 8656 sections 13 to 16: fields of IP. The relay has the kernel's defaults for all
// packets, whatever those that it relays have.
func TestFieldsOfIP(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	control := func(t *testing.T, c *net.UDPConn, set func(fd int) error) {
		t.Helper()
		rc, err := c.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		rc.Control(func(fd uintptr) { err = set(int(fd)) })
		if err != nil {
			t.Fatal(err)
		}
	}
	r := s.caller(t, "udp")
	f, relayed := r.meet(t)
	r.bind(t, 0x4000, f.at())
	client := r.conn.(*net.UDPConn)
	for _, c := range []*net.UDPConn{client, f.UDPConn} {
		control(t, c, func(fd int) error {
			const ef, ttl = 46<<2 | 2, 7 // expedited forwarding and ECT(0); few hops
			for option, value := range map[int]int{syscall.IP_TOS: ef, syscall.IP_TTL: ttl, syscall.IP_RECVTOS: 1, syscall.IP_RECVTTL: 1} {
				if err := syscall.SetsockoptInt(fd, syscall.IPPROTO_IP, option, value); err != nil {
					return err
				}
			}
			return nil
		})
	}
	standard := 0
	control(t, newFar(t, "127.0.0.1").UDPConn, func(fd int) (err error) {
		standard, err = syscall.GetsockoptInt(fd, syscall.IPPROTO_IP, syscall.IP_TTL)
		return err
	})
	fields := func(t *testing.T, c *net.UDPConn) (tos, ttl int) {
		t.Helper()
		oob := make([]byte, 256)
		c.SetReadDeadline(time.Now().Add(patience))
		_, n, _, _, err := c.ReadMsgUDP(make([]byte, 2048), oob)
		if err != nil {
			t.Fatal(err)
		}
		messages, err := syscall.ParseSocketControlMessage(oob[:n])
		if err != nil {
			t.Fatal(err)
		}
		tos, ttl = -1, -1
		for _, m := range messages {
			switch m.Header.Type {
			case syscall.IP_TOS:
				tos = int(m.Data[0])
			case syscall.IP_TTL:
				ttl = int(binary.NativeEndian.Uint32(m.Data))
			}
		}
		return tos, ttl
	}
	for _, test := range []struct {
		name string
		send func()
		to   *net.UDPConn
	}{
		{"to the peer, of ChannelData", func() { r.send(t, channelData(0x4000, []byte("data"))) }, f.UDPConn},
		{"to the peer, of a Send indication", func() { r.sendTo(t, f.at(), "data") }, f.UDPConn},
		{"to the client", func() { f.say(t, relayed, "data") }, client},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.send()
			if tos, ttl := fields(t, test.to); tos != 0 || ttl != standard {
				t.Errorf("TOS %#x, TTL %d; want 0 and %d", tos, ttl, standard)
			}
		})
	}
}
