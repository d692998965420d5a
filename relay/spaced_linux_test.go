package relay_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"switchboard/relay"
	"switchboard/relay/internal/offloadtest"
)

// Relays whose packets the kernel sends on are tried on machines of their own, which are
// network namespaces, see [offloadtest]. Here is what these tests have in common.

// spaced is a relay between a client's machine and a peer's.
type spaced struct {
	*offloadtest.Network
	child *relay.SpaceChild
	pion  bool
}

// startSpaced starts one, whose relayed addresses are those that it has towards peers.
func startSpaced(t testing.TB, o offloadtest.Options, c relay.SpaceConfig) *spaced {
	t.Helper()
	n := offloadtest.Lay(t, o)
	if c.Public == nil {
		c.Public = []netip.Addr{n.RelayToPeer.Four, n.RelayToPeer.Six}
	}
	return &spaced{Network: n, child: relay.StartSpaceChild(t, n.Relay, c), pion: c.Pion}
}

// report is how the relay is now.
func (s *spaced) report(t testing.TB) relay.SpaceReport {
	t.Helper()
	return s.tell(t, relay.SpaceOrder{})
}

func (s *spaced) tell(t testing.TB, o relay.SpaceOrder) relay.SpaceReport {
	t.Helper()
	r, err := s.child.Tell(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// atRest is how the relay is when it neither opens nor closes files, nor begins anything:
// when the data path is chosen, the network is watched anew.
func (s *spaced) atRest(t testing.TB) relay.SpaceReport {
	t.Helper()
	var last relay.SpaceReport
	eventually(t, "a relay at rest", func() bool {
		r := s.tell(t, relay.SpaceOrder{Collect: true})
		rests := r.Goroutines == last.Goroutines && r.Files == last.Files
		last = r
		time.Sleep(100 * time.Millisecond)
		return rests
	})
	return last
}

// untilReport waits until the relay is as it should be.
func (s *spaced) untilReport(t testing.TB, what string, ok func(relay.SpaceReport) bool) relay.SpaceReport {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if r := s.report(t); ok(r) {
			return r
		} else if time.Now().After(end) {
			t.Fatalf("never: %s; it is %+v", what, r.Path)
		}
	}
}

// login are credentials of the user.
func (s *spaced) login(t testing.TB, user string) offloadtest.Login {
	t.Helper()
	if s.pion {
		return offloadtest.Login{Realm: "switchboard", Username: user, Password: "pion"}
	}
	as := mint(t, "call", user, time.Now())
	return offloadtest.Login{Realm: "switchboard", Username: as.username, Password: as.password}
}

// brief bounds what is asked of a relay.
func brief(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// line is a channel of a client to a peer's socket.
type line struct {
	client  *offloadtest.Client
	peer    *net.UDPConn
	channel uint16
	server  netip.AddrPort // of the relay, as the client knows it
	to      netip.AddrPort // the peer
	heard   chan []byte    // payloads that came to the client
}

// line opens an allocation with a channel to a peer, all in one family.
func (s *spaced) line(t testing.TB, f offloadtest.Family, set ...func(fd int) error) *line {
	t.Helper()
	l := s.caller(t, f, set...)
	ctx := brief(t)
	if err := errors.Join(l.client.Allocate(ctx, f), l.client.Bind(ctx, l.channel, l.to)); err != nil {
		t.Fatal(err)
	}
	return l
}

// caller is a line of which the relay does not know yet.
func (s *spaced) caller(t testing.TB, f offloadtest.Family, set ...func(fd int) error) *line {
	t.Helper()
	l := &line{channel: 0x4000, heard: make(chan []byte, 1<<14), server: s.RelayToClient.At(f, 3478)}
	if s.pion {
		l.server = s.RelayToPeer.At(f, 3478)
	}
	l.peer = s.Peer.ListenUDP(t, s.Peer.At(f, 0), set...)
	l.to = l.peer.LocalAddr().(*net.UDPAddr).AddrPort()
	l.client = offloadtest.NewClient(s.Client.ListenUDP(t, s.Client.At(f, 0), set...), l.server, s.login(t, t.Name()), func(channel uint16, b []byte) {
		if channel == l.channel {
			select {
			case l.heard <- append([]byte(nil), b...):
			default: // nobody reads so many
			}
		}
	})
	t.Cleanup(l.client.Close)
	return l
}

// up sends a payload to the peer.
func (l *line) up(t testing.TB, b []byte) {
	t.Helper()
	if err := l.client.Send(l.channel, b, 0); err != nil {
		t.Fatal(err)
	}
}

// down sends a payload to the client.
func (l *line) down(t testing.TB, b []byte) {
	t.Helper()
	if _, err := l.peer.WriteToUDPAddrPort(b, l.client.Relayed()); err != nil {
		t.Fatal(err)
	}
}

// atPeer returns what comes next to the peer, from the relayed address, or not ok when
// nothing comes within a while.
func (l *line) atPeer(t testing.TB, within time.Duration) (payload []byte, ok bool) {
	t.Helper()
	b := make([]byte, 1<<16)
	l.peer.SetReadDeadline(time.Now().Add(within))
	n, from, err := l.peer.ReadFromUDPAddrPort(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	if from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port()); from != l.client.Relayed() {
		t.Fatalf("a packet came from %v, not %v", from, l.client.Relayed())
	}
	return b[:n], true
}

// atClient returns what comes next to the client.
func (l *line) atClient(within time.Duration) (payload []byte, ok bool) {
	select {
	case b := <-l.heard:
		return b, true
	default:
	}
	select {
	case b := <-l.heard:
		return b, true
	case <-time.After(within):
		return nil, false
	}
}

// both are the two ways of a line, as tests go through them.
var both = []string{"up", "down"}

func (l *line) send(t testing.TB, way string, b []byte) {
	t.Helper()
	if way == "up" {
		l.up(t, b)
	} else {
		l.down(t, b)
	}
}

func (l *line) next(t testing.TB, way string, within time.Duration) ([]byte, bool) {
	t.Helper()
	if way == "up" {
		return l.atPeer(t, within)
	}
	return l.atClient(within)
}

// media is a payload that is not STUN, with a name in it.
func media(name string) []byte { return append([]byte{0x80}, name...) }

// passes fails unless a packet comes through; it may be sent again.
func (l *line) passes(t testing.TB, way string, name string) {
	t.Helper()
	want := media(name)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		l.send(t, way, want)
		for {
			got, ok := l.next(t, way, 100*time.Millisecond)
			if !ok {
				break
			}
			if string(got) == string(want) {
				return
			}
		}
	}
	t.Fatalf("%s: %q never comes", way, name)
}

// silent fails if anything of a name comes; twenty packets are sent.
func (l *line) silent(t testing.TB, way string, name string) {
	t.Helper()
	want := media(name)
	for range 20 {
		l.send(t, way, want)
		time.Sleep(time.Millisecond)
	}
	for {
		got, ok := l.next(t, way, 200*time.Millisecond)
		if !ok {
			return
		}
		if string(got) == string(want) {
			t.Fatalf("%s: %q came through", way, name)
		}
	}
}

// inKernel has packets go both ways until the kernel relays all lines of so many.
func (s *spaced) inKernel(t testing.TB, lines ...*line) {
	t.Helper()
	for _, l := range lines {
		for _, way := range both {
			l.passes(t, way, "first "+way)
		}
	}
	s.untilReport(t, "in the kernel", func(r relay.SpaceReport) bool {
		return r.Path.InKernel == len(lines) && r.Entries == 2*len(lines)
	})
	// What went by the sockets has come.
	for _, l := range lines {
		for _, way := range both {
			for ok := true; ok; {
				_, ok = l.next(t, way, 50*time.Millisecond)
			}
		}
	}
}

// kernelDelta is how many packets the kernel has relayed between two reports, of each way.
func kernelDelta(before, after relay.SpaceReport) map[string]int {
	d := make(map[string]int)
	for _, way := range both {
		name := "offload_packets_total/" + way
		d[way] = int(after.Metrics[name] - before.Metrics[name])
	}
	return d
}

// leftDelta is why packets were left to the sockets between two reports.
func leftDelta(before, after relay.SpaceReport) map[string]int {
	d := make(map[string]int)
	for name, n := range after.Metrics {
		if why, ok := strings.CutPrefix(name, "offload_left_total/"); ok && n > before.Metrics[name] {
			d[why] = int(n - before.Metrics[name])
		}
	}
	return d
}
