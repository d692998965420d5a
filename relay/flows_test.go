package relay_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// frame is a message of ChannelData over UDP.
func frame(channel uint16, data []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, channel)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

// readFrame returns the next datagram that the client is sent, or nil.
func (r *raw) readFrame(t testing.TB, within time.Duration) []byte {
	t.Helper()
	r.conn.SetReadDeadline(time.Now().Add(within))
	b := make([]byte, 2048)
	n, _, err := r.conn.ReadFrom(b)
	if os.IsTimeout(err) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

// bound binds channels from 0x4000 on to peers.
func (r *raw) bound(t testing.TB, peers ...net.Addr) *raw {
	t.Helper()
	for i, p := range peers {
		if code := r.do(t, stun.MethodChannelBind, channel(0x4000+uint16(i)), peer(p.String())); code != 0 {
			t.Fatalf("bind: %d", code)
		}
	}
	return r
}

// Each way in which packets are relayed relays the same: whole, unchanged, to whom they
// are for, from several clients at once, each with channels to several peers.
func TestChannels(t *testing.T) {
	for _, path := range []string{relay.DataPathAuto, relay.DataPathPlain} {
		for _, listeners := range []int{1, 3} {
			for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
				t.Run(fmt.Sprintf("%s, %d listeners, %s", path, listeners, at), func(t *testing.T) {
					t.Parallel()
					s := start(t, func(c *relay.Config) {
						c.DataPath, c.Listeners, c.Listen, c.TLS.Listen = path, listeners, at, at
					})
					relaysChannels(t, s, at)
				})
			}
		}
	}
}

func relaysChannels(t *testing.T, s *server, at string) {
	peers := []net.Addr{echoAt(t, at), echoAt(t, at), echoAt(t, at)}
	var clients []*raw
	for i := range 5 {
		clients = append(clients, s.raw(t, "udp", mint(t, "call", fmt.Sprint("user ", i), time.Now())).allocated(t).bound(t, peers...))
	}
	if got := s.count(t, "channels", ""); got != 15 {
		t.Errorf("%v channels, want 15", got)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20 {
		sent := make([][][]byte, len(clients))
		for range 12 { // fewer bytes than a socket holds
			i := random.IntN(len(clients))
			data := make([]byte, []int{1, 3, 172, 172, 172, 1200, 1400}[random.IntN(7)])
			for j := range data {
				data[j] = byte(random.Uint32())
			}
			m := frame(0x4000+uint16(random.IntN(len(peers))), data)
			clients[i].send(t, m)
			sent[i] = append(sent[i], m)
		}
		for i, c := range clients {
			for range sent[i] {
				got := c.readFrame(t, patience)
				if !removeFrame(&sent[i], got) {
					t.Fatalf("client %d got %d bytes that it has not sent", i, len(got))
				}
			}
		}
	}
	for _, c := range clients {
		if code := c.do(t, stun.MethodRefresh, attribute{stun.AttrLifetime, make([]byte, 4)}); code != 0 {
			t.Errorf("refresh: %d", code)
		}
	}
	eventually(t, "no channel is left", func() bool { return s.count(t, "channels", "") == 0 })
}

// removeFrame removes a message from those that are expected, in whatever order peers
// have answered, and reports whether it was there.
func removeFrame(all *[][]byte, m []byte) bool {
	for i, b := range *all {
		if bytes.Equal(b, m) {
			*all = append((*all)[:i:i], (*all)[i+1:]...)
			return true
		}
	}
	return false
}

// Data in indications goes on beside that in channels.
func TestIndicationsBesideChannels(t *testing.T) {
	s := start(t, nil)
	with, without := echo(t), echo(t)
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t).bound(t, with)
	if code := r.do(t, stun.MethodCreatePermission, peer(without.String())); code != 0 {
		t.Fatal(code)
	}
	for i := range 20 {
		data := []byte(fmt.Sprint("packet ", i))
		r.send(t, frame(0x4000, data))
		r.send(t, stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer(without.String()), attribute{stun.AttrData, data}).Raw)
		inChannel, inIndication := 0, 0
		for range 2 {
			b := r.readFrame(t, patience)
			m := &stun.Message{Raw: b}
			switch {
			case bytes.Equal(b, frame(0x4000, data)):
				inChannel++
			case m.Decode() == nil && m.Type.Method == stun.MethodData:
				if got, err := m.Get(stun.AttrData); err != nil || !bytes.Equal(got, data) {
					t.Errorf("an indication with %q", got)
				}
				inIndication++
			}
		}
		if inChannel != 1 || inIndication != 1 {
			t.Fatalf("packet %d: %d in the channel, %d in an indication", i, inChannel, inIndication)
		}
	}
}

// What is sent in a channel that is not bound, or by somebody else, goes nowhere.
func TestChannelThatIsNotBound(t *testing.T) {
	s := start(t, nil)
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).allocated(t).bound(t, echo(t))
	other := s.raw(t, "udp", mint(t, "call", "bob", time.Now())).allocated(t)
	r.send(t, frame(0x4001, []byte("not bound")))
	other.send(t, frame(0x4000, []byte("bound by somebody else")))
	s.until(t, "drops_total", "no_channel", 2)
	r.send(t, frame(0x4000, []byte("bound")))
	if got := r.readFrame(t, patience); !bytes.Equal(got, frame(0x4000, []byte("bound"))) {
		t.Errorf("got %q", got)
	}
}

// More than an allocation may carry is dropped, either way, and no more than that.
func TestBandwidth(t *testing.T) {
	for _, test := range []struct {
		name string
		over string
		set  relay.Bandwidth
	}{
		{"of an allocation, in a channel", "udp", relay.Bandwidth{PerAllocation: 1}},
		{"of an allocation, by the library", "tcp", relay.Bandwidth{PerAllocation: 1}},
		{"of a user", "udp", relay.Bandwidth{PerUser: 1}},
		{"of the relay", "udp", relay.Bandwidth{Relay: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *relay.Config) { c.Bandwidth = test.set })
			r := s.raw(t, test.over, mint(t, "call", "alice", time.Now())).allocated(t).bound(t, echo(t))
			begin := time.Now()
			const size, n = 1000, 200 // half a second's worth is 62
			for range n {
				r.send(t, frame(0x4000, make([]byte, size)))
			}
			s.until(t, "drops_total", "bandwidth", 1)
			eventually(t, "all is relayed or dropped", func() bool {
				return s.count(t, "packets_total", "up")+s.count(t, "drops_total", "bandwidth") >= n
			})
			most := (0.5+time.Since(begin).Seconds())*1e6/8 + size
			if up := s.count(t, "bytes_total", "up"); up < 50*size || up > most {
				t.Errorf("%v bytes relayed, want 50,000 to %.0f", up, most)
			}
		})
	}
}

// Who may not send to an allocation takes nothing of its bandwidth, nor of the room for
// what waits for the library.
func TestStrangersTakeNoBandwidth(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Bandwidth = relay.Bandwidth{PerAllocation: 1} })
	inChannel, permitted := echoAt(t, "127.0.0.1:0"), echoAt(t, "127.0.0.1:0")
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).greet(t)
	m := r.request(t, stun.MethodAllocate, udpRelay)
	r.send(t, m.Raw)
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(r.receive(t, patience), stun.AttrXORRelayedAddress); err != nil {
		t.Fatal(err)
	}
	r.bound(t, inChannel)
	stranger, err := net.ListenPacket("udp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("no second address: %v", err)
	}
	defer stranger.Close()
	const n = 400 // six times what the allocation may carry at once
	for range n {
		if _, err := stranger.WriteTo(make([]byte, 1000), &net.UDPAddr{IP: relayed.IP, Port: relayed.Port}); err != nil {
			t.Fatal(err)
		}
	}
	if code := r.do(t, stun.MethodCreatePermission, peer(permitted.String())); code != 0 {
		t.Fatal(code)
	}
	s.until(t, "drops_total", "no_permission", 1)
	r.send(t, frame(0x4000, []byte("in the channel")))
	if got := r.readFrame(t, patience); !bytes.Equal(got, frame(0x4000, []byte("in the channel"))) {
		t.Errorf("got %q", got)
	}
	if dropped := s.count(t, "drops_total", "bandwidth") + s.count(t, "drops_total", "busy"); dropped != 0 {
		t.Errorf("%v packets take what is the allocation's", dropped)
	}
}

// The same holds for what peers send.
func TestBandwidthOfPeers(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Bandwidth = relay.Bandwidth{PerAllocation: 1} })
	r := s.raw(t, "udp", mint(t, "call", "alice", time.Now())).greet(t)
	r.send(t, r.request(t, stun.MethodAllocate, udpRelay).Raw)
	var relayed stun.XORMappedAddress
	if err := relayed.GetFromAs(r.receive(t, patience), stun.AttrXORRelayedAddress); err != nil {
		t.Fatal(err)
	}
	from, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	r.bound(t, from.LocalAddr())
	begin := time.Now()
	for range 150 { // half a second's worth is 62
		if _, err := from.WriteTo(make([]byte, 1000), &net.UDPAddr{IP: relayed.IP, Port: relayed.Port}); err != nil {
			t.Fatal(err)
		}
	}
	s.until(t, "drops_total", "bandwidth", 1)
	s.until(t, "bytes_total", "down", 50*1000)
	most := (0.5+time.Since(begin).Seconds())*1e6/8 + 1000
	if down := s.count(t, "bytes_total", "down"); down > most {
		t.Errorf("%v bytes relayed, want at most %.0f", down, most)
	}
}
