package relay_test

import (
	"net"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// RFC 8656 sections 5 and 8: how an allocation lasts and ends.
func TestRefresh(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	t.Run("LIFETIME", func(t *testing.T) {
		r := s.caller(t, "udp")
		if got := lifetimeIn(t, r.done(t, r.request(t, stun.MethodRefresh))); got != 600 {
			t.Errorf("none asked, %d given", got)
		}
		for _, test := range []struct{ asked, want uint32 }{{1, 600}, {600, 600}, {777, 777}, {3599, 3599}, {3600, 3599}, {1<<32 - 1, 3599}} {
			if got := lifetimeIn(t, r.done(t, r.request(t, stun.MethodRefresh, lifetime(test.asked)))); got != test.want {
				t.Errorf("%d asked, %d given, want %d", test.asked, got, test.want)
			}
		}
	})
	t.Run("LIFETIME of zero", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.caller(t, over)
			m := r.request(t, stun.MethodRefresh, lifetime(0))
			if got := lifetimeIn(t, r.done(t, m)); got != 0 {
				t.Errorf("LIFETIME over %s: %d", over, got)
			}
			if got := codeOf(r.ask(t, m)); got != 437 { // which a client that repeats it takes for success (8.3)
				t.Errorf("repeated over %s: %d, want 437", over, got)
			}
			r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
		}
	})
	t.Run("nothing is relayed after it", func(t *testing.T) {
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		r.bind(t, 0x4000, f.at())
		r.done(t, r.request(t, stun.MethodRefresh, lifetime(0)))
		f.say(t, relayed, "too late")
		r.unanswered(t, channelData(0x4000, []byte("too late")))
		r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("too late")}))
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
		r.unanswered(t, channelData(0x4000, []byte("not bound again")))
		r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("not permitted again")}))
		r.permit(t, f.at())
		r.sendTo(t, f.at(), "anew")
		f.expect(t, "anew")
	})
	t.Run("of nobody's allocation", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.newcomer(t, over)
			for _, method := range []stun.Method{stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
				if got := codeOf(r.ask(t, r.request(t, method, channel(0x4000), peer("127.0.0.1:5000")))); got != 437 {
					t.Errorf("%v over %s: %d, want 437", method, over, got)
				}
			}
		}
	})
	t.Run("of another user's allocation", func(t *testing.T) {
		for _, over := range everyTransport {
			r := s.caller(t, over)
			own := r.as
			r.as = mint(t, "call", "mallory", time.Now())
			for _, method := range []stun.Method{stun.MethodRefresh, stun.MethodCreatePermission, stun.MethodChannelBind} {
				if got := codeOf(r.ask(t, r.request(t, method, channel(0x4000), peer("127.0.0.1:5000"), lifetime(0)))); got != 441 {
					t.Errorf("%v over %s: %d, want 441", method, over, got)
				}
			}
			r.as = own
			r.done(t, r.request(t, stun.MethodRefresh))
		}
	})
	t.Run("from another port", func(t *testing.T) { // is another 5-tuple
		r := s.caller(t, "udp")
		other := s.raw(t, "udp", r.as).greet(t)
		if got := codeOf(other.ask(t, other.request(t, stun.MethodRefresh, lifetime(0)))); got != 437 {
			t.Errorf("%d, want 437", got)
		}
		r.done(t, r.request(t, stun.MethodRefresh))
	})
	t.Run("unknown required attribute", func(t *testing.T) {
		r := s.caller(t, "udp")
		if got := codeOf(r.ask(t, r.request(t, stun.MethodRefresh, attribute{0x7fff, nil}))); got != 420 {
			t.Errorf("%d, want 420", got)
		}
	})
	t.Run("a connection that closes", func(t *testing.T) {
		for _, over := range []string{"tcp", "tls"} {
			own := conforming(t, nil)
			r := own.caller(t, over)
			if n := own.Allocations(); n != 1 {
				t.Fatalf("%d allocations", n)
			}
			r.conn.Close()
			eventually(t, "the allocation ends with its connection over "+over, func() bool { return own.Allocations() == 0 })
		}
	})
}

// Time passes faster here: an allocation lasts a second, and so does a permission or a channel.
func TestLifetimesEnd(t *testing.T) {
	t.Parallel()
	const pace = 20 * time.Millisecond // or a peer's buffer would be full
	const short, long = 700 * time.Millisecond, time.Hour
	tuned := func(allocation, permission, channel time.Duration) *server {
		return startTuned(t, roomy(nil), func(s *relay.Server) { relay.SetLifetimes(s, allocation, permission, channel) })
	}
	t.Run("of an allocation", func(t *testing.T) {
		t.Parallel()
		s := tuned(short, long, long)
		r := s.caller(t, "udp")
		f, _ := r.meet(t)
		r.bind(t, 0x4000, f.at())
		eventually(t, "it ends, though data is sent", func() bool { // which refreshes nothing
			r.send(t, channelData(0x4000, []byte("data")))
			return s.Allocations() == 0
		})
		if got := codeOf(r.ask(t, r.request(t, stun.MethodRefresh))); got != 437 {
			t.Errorf("refresh after it: %d, want 437", got)
		}
		r.done(t, r.request(t, stun.MethodAllocate, udpRelay))
	})
	t.Run("of an allocation that is refreshed", func(t *testing.T) {
		t.Parallel()
		s := tuned(4*short, long, long)
		r := s.caller(t, "udp")
		r.done(t, r.request(t, stun.MethodRefresh, lifetime(600)))
		time.Sleep(5 * short)
		r.done(t, r.request(t, stun.MethodRefresh))
	})
	t.Run("of a permission", func(t *testing.T) {
		t.Parallel()
		s := tuned(long, short, long)
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		eventually(t, "the peer is no longer heard", func() bool {
			r.sendTo(t, f.at(), "data") // which refreshes nothing
			f.say(t, relayed, "data")
			time.Sleep(pace)
			return r.packet(t, 50*time.Millisecond) == nil
		})
		r.unanswered(t, sendIndication(peer(f.at()), attribute{stun.AttrData, []byte("without it")}))
		r.permit(t, f.at())
		r.sendTo(t, f.at(), "with it")
		f.find(t, "with it", "without it")
		f.say(t, relayed, "again")
		if _, data := dataOf(t, r.packet(t, patience)); data != "again" {
			t.Errorf("%q", data)
		}
	})
	t.Run("of a permission that is refreshed", func(t *testing.T) {
		t.Parallel()
		s := tuned(long, 4*short, long)
		one, two := s.caller(t, "udp"), s.caller(t, "udp")
		f, toOne := one.meet(t)
		g, toTwo := two.meet(t)
		for range 3 {
			time.Sleep(2 * short)
			one.permit(t, f.at())
			two.bind(t, 0x4000, g.at())
		}
		f.say(t, toOne, "still heard")
		if one.packet(t, patience) == nil {
			t.Error("CreatePermission refreshes nothing")
		}
		g.say(t, toTwo, "still heard")
		if two.packet(t, patience) == nil {
			t.Error("ChannelBind refreshes no permission")
		}
	})
	t.Run("of a permission below a channel", func(t *testing.T) {
		t.Parallel()
		s := tuned(long, short, long)
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		r.bind(t, 0x4000, f.at())
		beside := newFar(t, "127.0.0.1")
		eventually(t, "another port of the peer is no longer heard", func() bool {
			beside.say(t, relayed, "data")
			time.Sleep(pace)
			return r.packet(t, 50*time.Millisecond) == nil
		})
		r.send(t, channelData(0x4000, []byte("in the channel")))
		f.find(t, "in the channel", "")
		f.say(t, relayed, "not heard")
		s.until(t, "drops_total", "no_permission", 1)
		if b := r.packet(t, 100*time.Millisecond); b != nil {
			t.Errorf("%x, though the permission has ended", b)
		}
		r.bind(t, 0x4000, f.at()) // which permits it again
		f.say(t, relayed, "and back")
		if b := r.packet(t, patience); len(b) < 4 || b[0] != 0x40 {
			t.Errorf("%x", b)
		}
	})
	t.Run("of a channel", func(t *testing.T) {
		t.Parallel()
		s := tuned(long, long, short)
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		r.bind(t, 0x4000, f.at())
		var b []byte
		eventually(t, "data comes in indications again", func() bool {
			r.send(t, channelData(0x4000, []byte("data"))) // which refreshes nothing
			f.say(t, relayed, "data")
			time.Sleep(pace)
			b = r.packet(t, patience)
			return b != nil && b[0]>>6 == 0
		})
		if from, data := dataOf(t, b); data != "data" || from.String() != f.at() {
			t.Errorf("%q from %v", data, from)
		}
		r.unanswered(t, channelData(0x4000, []byte("in the channel")))
		r.sendTo(t, f.at(), "beside it")
		f.find(t, "beside it", "in the channel")
		other := newFar(t, "127.0.0.1")
		r.bind(t, 0x4000, other.at()) // its number is free
		r.bind(t, 0x4001, f.at())     // and its peer
	})
	t.Run("of a channel that is refreshed", func(t *testing.T) {
		t.Parallel()
		s := tuned(long, long, 4*short)
		r := s.caller(t, "udp")
		f, relayed := r.meet(t)
		for range 4 {
			r.bind(t, 0x4000, f.at())
			time.Sleep(2 * short)
		}
		f.say(t, relayed, "still bound")
		if b := r.packet(t, patience); b == nil || b[0]>>6 != 1 {
			t.Errorf("%x", b)
		}
	})
}

// A client may be gone for as long as it likes over UDP, and no longer than its
// connection over TCP.
func TestClientThatIsGone(t *testing.T) {
	t.Parallel()
	s := conforming(t, nil)
	udp, tcp := s.caller(t, "udp"), s.dialStream(t, "tcp")
	s.rawOn(t, tcp, mint(t, "call", t.Name(), time.Now())).allocated(t)
	udp.conn.Close()
	tcp.(*net.TCPConn).SetLinger(0) // no goodbye: RST
	tcp.Close()
	eventually(t, "the allocation over TCP ends", func() bool { return s.count(t, "allocations", "tcp") == 0 })
	if got := s.count(t, "allocations", "udp"); got != 1 {
		t.Errorf("%v allocations over UDP", got)
	}
}
