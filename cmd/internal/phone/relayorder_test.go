package phone

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

var twoRelays = protocol.ICE{Servers: []protocol.ICEServer{
	{URLs: []string{"stun:192.0.2.1:3478"}},
	{URLs: []string{"turn:192.0.2.1:3478?transport=udp", "turns:one.example:5349?transport=tcp"}},
	{URLs: []string{"turn:192.0.2.2:3478?transport=udp", "turns:two.example?transport=tcp"}},
}}

// nowhere has no addresses for anything, and says so at once.
type nowhere struct{ transport.Net }

var errNowhere = errors.New("nowhere")

func (nowhere) ResolveUDPAddr(string, string) (*net.UDPAddr, error) { return nil, errNowhere }
func (nowhere) Interfaces() ([]*transport.Interface, error)         { return nil, errNowhere }
func (nowhere) ResolveTCPAddr(string, string) (*net.TCPAddr, error) { return nil, errNowhere }

// The first relay begins at once, the others after its head start, by whatever they are
// reached; once that is over, nobody waits.
func TestTheFirstRelayHasAHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNetwork(nowhere{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		n.begin(protocol.ICE{}) // nothing to wait for
		n.begin(twoRelays)
		begun := time.Now()
		for _, test := range []struct {
			at  string
			tcp bool
			due time.Duration
		}{
			{"192.0.2.1:3478", false, 0}, {"198.51.100.1:3478", false, 0},
			{"192.0.2.2:3478", false, headStart}, {"two.example:5349", true, headStart + betterWithin},
		} {
			if test.tcp {
				_, err = n.Dial("tcp4", test.at)
			} else {
				_, err = n.ResolveUDPAddr("udp4", test.at)
			}
			if since := time.Since(begun); !errors.Is(err, errNowhere) || since != test.due {
				t.Errorf("%s is reached after %v, want %v: %v", test.at, since, test.due, err)
			}
		}
	})
}

// TCP and TLS are for relays that do not answer in a better way.
func TestTheBestWayIsTriedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, err := newNetwork(nowhere{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		n.begin(twoRelays)
		time.AfterFunc(100*time.Millisecond, func() { n.order.answers(way{"udp", "192.0.2.1:3478"}) })
		for _, test := range []struct {
			at   string
			want error
			took time.Duration
		}{
			{"one.example:5349", errBetter, 100 * time.Millisecond},
			{"one.example:5349", errBetter, 0},
			{"two.example:5349", errNowhere, headStart - 100*time.Millisecond + betterWithin},
			{"other.example:5349", errNowhere, 0},
		} {
			begun := time.Now()
			_, err := n.Dial("tcp4", test.at)
			if since := time.Since(begun); !errors.Is(err, test.want) || since != test.took {
				t.Errorf("%s: %v after %v, want %v after %v", test.at, err, since, test.want, test.took)
			}
		}
		// Over UDP nothing comes, and over TCP an answer.
		n.begin(protocol.ICE{Servers: []protocol.ICEServer{{URLs: []string{
			"turn:three.example:3478?transport=udp", "turn:three.example:3478?transport=tcp", "turns:three.example:443?transport=tcp",
		}}}})
		time.AfterFunc(betterWithin+100*time.Millisecond, func() { n.order.answers(way{"tcp", "three.example:3478"}) })
		begun := time.Now()
		if !n.order.needs(t.Context(), way{"tcp", "three.example:3478"}) || time.Since(begun) != betterWithin {
			t.Errorf("TCP is tried after %v, want %v", time.Since(begun), betterWithin)
		}
		if n.order.needs(t.Context(), way{"tls", "three.example:443"}) {
			t.Error("TLS is tried where TCP does")
		}
		n.begin(twoRelays)
		n.order.answers(way{"udp", "192.0.2.1:3478"})
		n.order.answers(way{"udp", "192.0.2.1:3478"}) // once more, as when two sockets lead there
		n.begin(twoRelays)
		time.AfterFunc(10*time.Millisecond, n.leave)
		begun = time.Now()
		if _, err := n.Dial("tcp4", "one.example:5349"); err == nil || time.Since(begun) > betterWithin {
			t.Errorf("when the call ends: %v after %v", err, time.Since(begun))
		}
	})
}

// The other side is told to prefer the relay candidates of a generation in the order in
// which they were found, those over UDP first.
func TestRelayCandidatesHavePriorities(t *testing.T) {
	var r preferences
	told := func(gen string, typ webrtc.ICECandidateType, local uint32) uint32 {
		c := &webrtc.ICECandidate{Typ: typ, Priority: local<<8 | 255}
		r.rank(gen, c)
		return c.Priority
	}
	first, second := told("a", webrtc.ICECandidateTypeRelay, 3), told("a", webrtc.ICECandidateTypeRelay, 3)
	if first <= second || second>>24 != 0 || first&0xff != 255 {
		t.Errorf("the first has %#x, the second %#x", first, second)
	}
	if tcp := told("a", webrtc.ICECandidateTypeRelay, 2); tcp >= second {
		t.Errorf("over TCP %#x, over UDP %#x", tcp, second)
	}
	if host := told("a", webrtc.ICECandidateTypeHost, 65535); host != 65535<<8|255 {
		t.Errorf("a host candidate has %#x", host)
	}
	for range 30 {
		told("a", webrtc.ICECandidateTypeRelay, 3)
	}
	if last := told("a", webrtc.ICECandidateTypeRelay, 0); last>>8 != 0 {
		t.Errorf("the last of many has %#x", last)
	}
	if anew := told("b", webrtc.ICECandidateTypeRelay, 3); anew != first {
		t.Errorf("the first of another generation has %#x, want %#x", anew, first)
	}
}
