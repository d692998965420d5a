package relay_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// RFC 8656 sections 12.1 and 12.2: which channels there may be.
func TestChannelBind(t *testing.T) {
	t.Parallel()
	s := conforming(t, func(c *relay.Config) { c.Quotas.Channels = 4 })
	code := func(t *testing.T, r *raw, attributes ...stun.Setter) int {
		t.Helper()
		return codeOf(r.ask(t, r.request(t, stun.MethodChannelBind, attributes...)))
	}
	t.Run("numbers", func(t *testing.T) {
		for _, test := range []struct {
			number uint16
			code   int
		}{
			{0x0000, 400}, {0x3fff, 400}, {0x4000, 0}, {0x4fff, 0}, {0x8000, 400}, {0xffff, 400},
		} {
			if got := code(t, s.caller(t, "udp"), channel(test.number), peer("127.0.0.1:5000")); got != test.code {
				t.Errorf("%#x: %d, want %d", test.number, got, test.code)
			}
		}
	})
	t.Run("numbers of RFC 5766", func(t *testing.T) {
		for _, n := range []uint16{0x5000, 0x7fff} {
			r := s.caller(t, "udp")
			f, _ := r.meet(t)
			r.bind(t, n, f.at())
			r.send(t, channelData(n, []byte("in it")))
			f.expect(t, "in it")
		}
	})
	for _, test := range []struct {
		name       string
		attributes []stun.Setter
		code       int
	}{
		{"no CHANNEL-NUMBER", []stun.Setter{peer("127.0.0.1:5000")}, 400},
		{"CHANNEL-NUMBER of another length", []stun.Setter{attribute{stun.AttrChannelNumber, []byte{0x40}}, peer("127.0.0.1:5000")}, 400},
		{"CHANNEL-NUMBER with its reserved bits set", []stun.Setter{attribute{stun.AttrChannelNumber, []byte{0x40, 0, 1, 2}}, peer("127.0.0.1:5000")}, 0},
		{"no XOR-PEER-ADDRESS", []stun.Setter{channel(0x4000)}, 400},
		{"a malformed XOR-PEER-ADDRESS", []stun.Setter{channel(0x4000), attribute{stun.AttrXORPeerAddress, []byte{0, 9, 1, 2, 3, 4, 5, 6}}}, 400},
		{"a peer that is denied", []stun.Setter{channel(0x4000), peer("169.254.169.254:5000")}, 403},
		{"a port that is denied", []stun.Setter{channel(0x4000), peer("127.0.0.1:53")}, 403},
		{"unknown required attribute", []stun.Setter{channel(0x4000), peer("127.0.0.1:5000"), attribute{0x7fff, nil}}, 420},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, over := range everyTransport {
				if got := code(t, s.caller(t, over), test.attributes...); got != test.code {
					t.Errorf("%d over %s, want %d", got, over, test.code)
				}
			}
		})
	}
	t.Run("the same again", func(t *testing.T) {
		r := s.caller(t, "udp")
		r.bind(t, 0x4000, "127.0.0.1:5000")
		r.bind(t, 0x4000, "127.0.0.1:5000")
	})
	t.Run("a number for another peer", func(t *testing.T) {
		r := s.caller(t, "udp")
		r.bind(t, 0x4000, "127.0.0.1:5000")
		for _, p := range []string{"127.0.0.1:5001", "127.0.0.2:5000"} {
			if got := code(t, r, channel(0x4000), peer(p)); got != 400 {
				t.Errorf("%s: %d, want 400", p, got)
			}
		}
	})
	t.Run("another number for a peer", func(t *testing.T) {
		r := s.caller(t, "udp")
		r.bind(t, 0x4000, "127.0.0.1:5000")
		if got := code(t, r, channel(0x4001), peer("127.0.0.1:5000")); got != 400 {
			t.Errorf("%d, want 400", got)
		}
		r.bind(t, 0x4001, "127.0.0.1:5001") // another port is another peer
	})
	t.Run("in another allocation", func(t *testing.T) {
		s.caller(t, "udp").bind(t, 0x4000, "127.0.0.1:5000")
		s.caller(t, "udp").bind(t, 0x4000, "127.0.0.1:5001")
	})
	t.Run("a refusal binds nothing", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		g := newFar(t, "127.0.0.1")
		r.bind(t, 0x4000, f.at())
		code(t, r, channel(0x4000), peer(g.at()))
		r.send(t, channelData(0x4000, []byte("as before")))
		f.expect(t, "as before")
	})
	t.Run("installs a permission", func(t *testing.T) {
		r := s.caller(t, "udp")
		_, relayed := r.meet(t)
		r.bind(t, 0x4000, "127.0.0.9:5000")
		newFar(t, "127.0.0.9").say(t, relayed, "from another port")
		if _, data := dataOf(t, r.packet(t, patience)); data != "from another port" {
			t.Errorf("%q", data)
		}
	})
	t.Run("as many as there may be", func(t *testing.T) {
		r := s.caller(t, "udp")
		for i := range 4 {
			r.bind(t, 0x4000+uint16(i), fmt.Sprintf("127.0.0.1:%d", 5000+i))
		}
		if got := code(t, r, channel(0x4004), peer("127.0.0.1:5004")); got != 508 {
			t.Errorf("one more: %d, want 508", got)
		}
		r.bind(t, 0x4000, "127.0.0.1:5000")
	})
	t.Run("repeated", func(t *testing.T) {
		r := s.caller(t, "udp")
		m := r.request(t, stun.MethodChannelBind, channel(0x4000), peer("127.0.0.1:5000"))
		if one, two := r.done(t, m), r.done(t, m); !bytes.Equal(one.Raw, two.Raw) {
			t.Errorf("%v, %v", one, two)
		}
	})
}

// RFC 8656 sections 12.4 to 12.7: what goes through a channel.
func TestChannelData(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	t.Run("both ways", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.caller(t, over)
			f, relayed := r.meet(t)
			r.bind(t, 0x4abc, f.at())
			for _, size := range []int{5, 6, 7, 8, 172, 1200, 1500} {
				data := strings.Repeat("x", size)
				r.send(t, channelData(0x4abc, []byte(data)))
				if from := f.expect(t, data); from != relayed {
					t.Errorf("from %v, want %v", from, relayed)
				}
				f.say(t, relayed, data)
				b := r.packet(t, patience)
				if len(b) < 4+size || binary.BigEndian.Uint16(b) != 0x4abc || int(binary.BigEndian.Uint16(b[2:])) != size || string(b[4:4+size]) != data {
					t.Errorf("%d bytes over %s came as %x", size, over, b[:min(len(b), 12)])
				}
				if padding := len(b) - 4 - size; padding < 0 || padding > 3 {
					t.Errorf("%d bytes over %s came in %d", size, over, len(b))
				}
			}
		}
	})
	t.Run("padding of what is received over UDP", func(t *testing.T) { // may be there or not
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.bind(t, 0x4000, f.at())
		for _, data := range []string{"", "1", "12", "123", "1234"} {
			padded := channelData(0x4000, []byte(data))
			r.send(t, padded)
			f.expect(t, data)
			r.send(t, padded[:4+len(data)])
			f.expect(t, data)
		}
	})
	t.Run("padding over TCP", func(t *testing.T) {
		for _, over := range []string{"tcp", "tls"} {
			conn := s.dialStream(t, over)
			r := s.rawOn(t, conn, mint(t, "call", t.Name(), time.Now())).allocated(t)
			f, relayed := r.meet(t)
			r.bind(t, 0x4000, f.at())
			var all, want []byte
			for size := range 9 {
				data := bytes.Repeat([]byte{byte('a' + size)}, size)
				all = append(all, channelData(0x4000, data)...)
				want = append(want, channelData(0x4000, data)...)
			}
			conn.Write(all) // in one piece, each padded
			for size := range 9 {
				data := strings.Repeat(string(rune('a'+size)), size)
				f.expect(t, data)
				f.say(t, relayed, data)
			}
			got := make([]byte, len(want))
			conn.SetReadDeadline(time.Now().Add(patience))
			if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("over %s: %v\n got %x\nwant %x", over, err, got, want)
			}
		}
	})
	t.Run("of no length", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		r.bind(t, 0x4000, f.at())
		r.send(t, channelData(0x4000, nil))
		f.expect(t, "")
		f.say(t, relayed, "")
		if b := r.packet(t, patience); !bytes.Equal(b, []byte{0x40, 0, 0, 0}) {
			t.Errorf("%x", b)
		}
	})
	t.Run("before and after it is bound", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		f.say(t, relayed, "before")
		if _, data := dataOf(t, r.packet(t, patience)); data != "before" {
			t.Errorf("%q", data)
		}
		r.bind(t, 0x4000, f.at())
		f.say(t, relayed, "after it")
		if b := r.packet(t, patience); len(b) < 4 || b[0] != 0x40 {
			t.Errorf("%x is not ChannelData", b)
		}
		r.sendTo(t, f.at(), "a Send indication nonetheless")
		f.expect(t, "a Send indication nonetheless")
	})

	// What is not relayed: the peer receives what was sent after it.
	for _, test := range []struct {
		name string
		b    []byte
	}{
		{"in a channel that is not bound", channelData(0x4001, []byte("nobody's"))},
		{"in a channel of the reserved range", channelData(0x8000, []byte("nobody's"))},
		{"shorter than its length", channelData(0x4000, []byte("long enough"))[:8]},
		{"without a length", []byte{0x40, 0}},
		{"longer than its length and padding", append(channelData(0x4000, []byte("four")), 1, 2, 3, 4)},
		{"too long to be relayed", channelData(0x4000, make([]byte, 1700))},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := s.caller(t, "udp")
			f, _ := r.meet(t)
			r.bind(t, 0x4000, f.at())
			r.unanswered(t, test.b)
			r.send(t, channelData(0x4000, []byte("after it")))
			f.expect(t, "after it")
		})
	}
	t.Run("too long to be relayed over TCP", func(t *testing.T) { // and what follows it is
		r := s.caller(t, "tcp")
		f, _ := r.meet(t)
		r.bind(t, 0x4000, f.at())
		r.send(t, channelData(0x4000, make([]byte, 0xffff)))
		r.send(t, channelData(0x4000, []byte("after it")))
		f.expect(t, "after it")
	})
	t.Run("without an allocation", func(t *testing.T) {
		s.raw(t, "udp", credentials{}).unanswered(t, channelData(0x4000, []byte("nobody's")))
	})
	t.Run("from another 5-tuple", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.bind(t, 0x4000, f.at())
		s.raw(t, "udp", r.as).unanswered(t, channelData(0x4000, []byte("somebody else's")))
		r.send(t, channelData(0x4000, []byte("after it")))
		f.expect(t, "after it")
	})
	t.Run("from a peer that is too long", func(t *testing.T) { // is lost, and not cut
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		r.bind(t, 0x4000, f.at())
		f.say(t, relayed, strings.Repeat("x", 3000))
		f.say(t, relayed, "after it")
		if b := r.packet(t, patience); len(b) < 12 || string(b[4:12]) != "after it" {
			t.Errorf("%d bytes", len(b))
		}
	})
	t.Run("between two allocations", func(t *testing.T) {
		a, b := s.newcomer(t, "udp"), s.newcomer(t, "tcp")
		atA := addressIn(t, a.done(t, a.request(t, stun.MethodAllocate, udpRelay)), stun.AttrXORRelayedAddress)
		atB := addressIn(t, b.done(t, b.request(t, stun.MethodAllocate, udpRelay)), stun.AttrXORRelayedAddress)
		a.bind(t, 0x4000, atB.String())
		b.bind(t, 0x4001, atA.String())
		a.send(t, channelData(0x4000, []byte("from a to b")))
		if got := b.packet(t, patience); len(got) < 15 || string(got[4:15]) != "from a to b" || got[1] != 1 {
			t.Errorf("%q", got)
		}
		b.send(t, channelData(0x4001, []byte("from b to a")))
		if got := a.packet(t, patience); len(got) < 15 || string(got[4:15]) != "from b to a" || got[1] != 0 {
			t.Errorf("%q", got)
		}
	})
}
