package relay_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"switchboard/relay"
	"switchboard/relay/internal/offloadtest"
)

// wires are taps at both ends of a relay, and a line through it whose packets the kernel
// relays, if it does.
type wires struct {
	*spaced
	line         *line
	family       offloadtest.Family
	client, peer *offloadtest.Tap
}

func (s *spaced) wires(t *testing.T, f offloadtest.Family, kernel bool) *wires {
	t.Helper()
	w := &wires{spaced: s, line: s.line(t, f), family: f}
	if kernel {
		s.inKernel(t, w.line)
	} else {
		for _, way := range both {
			w.line.passes(t, way, "first")
		}
	}
	w.client, w.peer = s.Client.Tap(t, s.RelayToClient), s.Peer.Tap(t, s.RelayToPeer)
	return w
}

// frame is what a client, or a peer, sends of a payload.
func (w *wires) frame(way string, payload []byte) offloadtest.Frame {
	f := offloadtest.Frame{Hops: 64, ID: 4321, DontFragment: true, Payload: payload}
	if way == "up" {
		f.From, f.To = w.Client.At(w.family, w.line.client.LocalPort()), w.line.server
		f.Payload = offloadtest.Data(w.line.channel, payload, 0)
	} else {
		f.From, f.To = w.line.to, w.line.client.Relayed()
	}
	return f
}

// taps are where a way begins and where it ends.
func (w *wires) taps(way string) (from, to *offloadtest.Tap) {
	if way == "up" {
		return w.client, w.peer
	}
	return w.peer, w.client
}

// relayed sends a packet and returns what comes out at the other end.
func (w *wires) relayed(t *testing.T, way string, packet []byte) offloadtest.Frame {
	t.Helper()
	from, to := w.taps(way)
	if err := from.Send(packet); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(patience); time.Now().Before(end); {
		b, err := to.Next(time.Until(end))
		if err != nil {
			t.Fatal(err)
		}
		f, err := offloadtest.ReadFrame(b)
		if err == nil && (f.From == w.line.client.Relayed() || f.From == w.line.server) {
			f.Payload = slices.Clone(f.Payload)
			return f
		}
	}
	t.Fatalf("%s: nothing comes", way)
	return offloadtest.Frame{}
}

// What the kernel relays keeps the fields of IP that say how it is to be treated, and has one
// hop less.
func TestKernelKeepsFields(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
	s.NoBadSums(t)
	for _, f := range offloadtest.Families {
		w := s.wires(t, f, true)
		for _, field := range []struct {
			name string
			set  func(*offloadtest.Frame)
		}{
			{"nothing special", func(*offloadtest.Frame) {}},
			{"DSCP of speech, and ECN", func(f *offloadtest.Frame) { f.Class = 46<<2 | 2 }},
			{"congestion experienced", func(f *offloadtest.Frame) { f.Class = 3 }},
			{"two hops are left", func(f *offloadtest.Frame) { f.Hops = 2 }},
			{"all hops are left", func(f *offloadtest.Frame) { f.Hops = 255 }},
			{"it may be fragmented", func(f *offloadtest.Frame) { f.DontFragment = false }},
			{"no checksum", func(f *offloadtest.Frame) { f.NoSum = true }},
			{"a flow label", func(f *offloadtest.Frame) { f.Label = 0xabcde }},
		} {
			if f == offloadtest.IPv6 && field.name == "no checksum" {
				continue
			}
			for _, way := range both {
				before := s.report(t)
				sent := w.frame(way, media(field.name))
				field.set(&sent)
				got := w.relayed(t, way, sent.Packet())
				want := sent
				want.From, want.To, want.Payload = w.line.client.Relayed(), w.line.to, media(field.name)
				if way == "down" {
					want.From, want.To = w.line.server, w.Client.At(f, w.line.client.LocalPort())
					want.Payload = offloadtest.Data(w.line.channel, media(field.name), 0)
				}
				want.Hops--
				want.Label = 0
				if f == offloadtest.IPv6 {
					want.ID, want.DontFragment = 0, false
				}
				if !bytes.Equal(got.Payload, want.Payload) {
					t.Errorf("%v, %s, %s: payload %q, want %q", f, field.name, way, got.Payload, want.Payload)
				}
				got.Payload, want.Payload = nil, nil
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("%v, %s, %s:\n%+v, want\n%+v", f, field.name, way, got, want)
				}
				if d := kernelDelta(before, s.report(t)); d[way] != 1 {
					t.Errorf("%v, %s, %s: the kernel relayed %v", f, field.name, way, d)
				}
			}
		}
		if err := w.line.client.Refresh(brief(t), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// ChannelData may be padded to a multiple of four bytes over UDP, and with less
// (RFC 8656 section 12.5); the peer gets the payload alone.
func TestKernelCutsPadding(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
	s.NoBadSums(t)
	for _, f := range offloadtest.Families {
		w := s.wires(t, f, true)
		before, n := s.report(t), 0
		for size := 1; size <= 33; size++ {
			for padding := range 1 + (-size & 3) {
				payload := bytes.Repeat([]byte{0x80 | byte(size)}, size)
				sent := w.frame("up", nil)
				sent.Payload = offloadtest.Data(w.line.channel, payload, padding)
				for i := range padding { // it need not be zero
					sent.Payload[len(sent.Payload)-1-i] = byte(0xa5 + size + i)
				}
				if got := w.relayed(t, "up", sent.Packet()); !bytes.Equal(got.Payload, payload) {
					t.Errorf("%v: %d bytes with %d more: %x", f, size, padding, got.Payload)
				}
				n++
			}
		}
		if d := kernelDelta(before, s.report(t)); d["up"] != n {
			t.Errorf("%v: the kernel relayed %d of %d", f, d["up"], n)
		}
		if err := w.line.client.Refresh(brief(t), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// What is longer in a channel than the way to the client takes goes by the sockets, which cut
// it up.
func TestLongPacketsGoByTheSockets(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{ClientMTU: 1500, PeerMTU: 1500}, relay.SpaceConfig{DataPath: "ebpf"})
	s.NoBadSums(t)
	for f, header := range map[offloadtest.Family]int{offloadtest.IPv4: 28, offloadtest.IPv6: 48} {
		l := s.line(t, f)
		s.inKernel(t, l)
		before := s.report(t)
		var sent [][]byte
		for size := 1500 - header - 8; size <= 1500-header; size++ {
			sent = append(sent, bytes.Repeat([]byte{0x80 | byte(size)}, size))
		}
		if _, lost := l.carry(t, "down", sent); lost > 0 {
			t.Errorf("%v: %d are lost", f, lost)
		}
		after := s.report(t)
		if left := leftDelta(before, after); left["long"] != 4 {
			t.Errorf("%v: left %v, want the last 4", f, left)
		}
		if d := kernelDelta(before, after); d["down"] != 5 {
			t.Errorf("%v: the kernel relayed %v, want the first 5", f, d)
		}
		if err := l.client.Refresh(brief(t), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// The socket option of Linux for datagrams without a checksum.
const soNoCheck = 11

// What a client has its own kernel send without a checksum, or with a class, arrives so.
func TestKernelKeepsWhatSocketsSay(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
	const ef = 46 << 2
	l := s.line(t, offloadtest.IPv4, func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, soNoCheck, 1), unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, ef),
			unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1))
	})
	s.inKernel(t, l)
	tap := s.Peer.Tap(t, s.RelayToPeer)
	l.up(t, media("no sum"))
	b, oob := make([]byte, 100), make([]byte, 100)
	l.peer.SetReadDeadline(time.Now().Add(patience))
	n, more, _, _, err := l.peer.ReadMsgUDP(b, oob)
	if err != nil || string(b[:n]) != string(media("no sum")) {
		t.Fatalf("%q, %v", b[:n], err)
	}
	all, err := unix.ParseSocketControlMessage(oob[:more])
	if err != nil || len(all) != 1 || all[0].Data[0] != ef {
		t.Errorf("the class is %v, %v; want %d", all, err, ef)
	}
	packet, err := tap.Next(patience)
	if err != nil {
		t.Fatal(err)
	}
	if f, err := offloadtest.ReadFrame(packet); err != nil || !f.NoSum || f.Class != ef {
		t.Errorf("%+v, %v", f, err)
	}
}

// bad are packets of which something is wrong, or out of the ordinary.
var bad = []struct {
	name   string
	only   offloadtest.Family // 0 for both
	way    string             // "" for both
	change func(w *wires, way string, p []byte) []byte
}{
	{"a wrong checksum of UDP", 0, "", udpField(6, 0x1234)},
	{"no checksum over IPv6", offloadtest.IPv6, "", udpField(6, 0)},
	{"a wrong checksum of IPv4", offloadtest.IPv4, "", func(_ *wires, _ string, p []byte) []byte { p[10] ^= 0x55; return p }},
	{"UDP says it is longer", 0, "", udpLength(4)},
	{"UDP says it is shorter", 0, "", udpLength(-2)},
	{"UDP says it has no header", 0, "", udpField(4, 7)},
	{"UDP says it has no length", 0, "", udpField(4, 0)},
	{"IP says it is longer", 0, "", ipLength(4)},
	{"IP says it is shorter", 0, "", ipLength(-4)},
	{"Ethernet has more", 0, "", func(_ *wires, _ string, p []byte) []byte { return append(p, 1, 2, 3, 4, 5, 6) }},
	{"cut off", 0, "", func(_ *wires, _ string, p []byte) []byte { return p[:len(p)-3] }},
	{"cut off in the header of UDP", 0, "", func(w *wires, _ string, p []byte) []byte { return p[:w.header()+5] }},
	{"an option of IPv4", offloadtest.IPv4, "", func(_ *wires, _ string, p []byte) []byte {
		p = append(append(append([]byte(nil), p[:20]...), 1, 1, 1, 0), p[20:]...)
		p[0] = 0x46
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		offloadtest.SumIPv4(p)
		return p
	}},
	{"an extension of IPv6", offloadtest.IPv6, "", func(_ *wires, _ string, p []byte) []byte {
		p = append(append(append([]byte(nil), p[:40]...), 17, 0, 1, 4, 0, 0, 0, 0), p[40:]...) // destination options, padding
		p[6] = 60
		binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
		return p
	}},
	{"the header of IPv4 is too short", offloadtest.IPv4, "", func(_ *wires, _ string, p []byte) []byte { p[0] = 0x44; offloadtest.SumIPv4(p); return p }},
	{"another version of IP", 0, "", func(_ *wires, _ string, p []byte) []byte { p[0] = p[0]&15 | 0x50; return p }},
	{"no hop is left", 0, "", hops(0)},
	{"one hop is left", 0, "", hops(1)},
	{"a first fragment", offloadtest.IPv4, "", fragment(0x2000)},
	{"a later fragment", offloadtest.IPv4, "", fragment(2)},
	{"from a stranger's port", 0, "", udpField(0, 1025)},
	{"from a stranger's address", 0, "", func(w *wires, _ string, p []byte) []byte {
		p[map[offloadtest.Family]int{offloadtest.IPv4: 15, offloadtest.IPv6: 23}[w.family]] = 99
		offloadtest.SumIPv4(p)
		offloadtest.SumUDP(p)
		return p
	}},
	{"another protocol", 0, "", func(w *wires, _ string, p []byte) []byte {
		p[map[offloadtest.Family]int{offloadtest.IPv4: 9, offloadtest.IPv6: 6}[w.family]] = 136 // UDP-Lite
		offloadtest.SumIPv4(p)
		return p
	}},
	{"nothing", 0, "", payloadOf(func([]byte) []byte { return nil })},
	{"a channel that is not bound", 0, "up", payloadOf(func(b []byte) []byte { b[1] ^= 1; return b })},
	{"below all channels", 0, "up", payloadOf(func(b []byte) []byte { b[0] = 0x3f; return b })},
	{"beyond all channels", 0, "up", payloadOf(func(b []byte) []byte { b[0] = 0x50; return b })},
	{"half a header of ChannelData", 0, "up", payloadOf(func(b []byte) []byte { return b[:3] })},
	{"ChannelData says it is longer", 0, "up", payloadOf(func(b []byte) []byte { b[3] += 9; return b })},
	{"ChannelData says it is much longer", 0, "up", payloadOf(func(b []byte) []byte { b[2] = 0xff; return b })},
	{"ChannelData says it is shorter", 0, "up", payloadOf(func(b []byte) []byte { b[3] -= 5; return b })},
	{"four bytes of padding", 0, "up", payloadOf(func(b []byte) []byte { return append(b, 0, 0, 0, 0) })},
	{"more padding than a multiple of four wants", 0, "up", payloadOf(func(b []byte) []byte {
		b = append(b[:0:0], b[:8]...)
		b[3] = 4
		return append(b, 0, 0)
	})},
	{"an empty payload", 0, "up", payloadOf(func(b []byte) []byte { return []byte{b[0], b[1], 0, 0} })},
	{"somebody else's frame", 0, "", nil},
}

func (w *wires) header() int {
	if w.family == offloadtest.IPv4 {
		return 20
	}
	return 40
}

func udpField(at int, value uint16) func(*wires, string, []byte) []byte {
	return func(w *wires, _ string, p []byte) []byte {
		binary.BigEndian.PutUint16(p[w.header()+at:], value)
		if at == 0 {
			offloadtest.SumUDP(p)
		}
		return p
	}
}

func udpLength(more int) func(*wires, string, []byte) []byte {
	return func(w *wires, _ string, p []byte) []byte {
		binary.BigEndian.PutUint16(p[w.header()+4:], uint16(len(p)-w.header()+more))
		return p
	}
}

func ipLength(more int) func(*wires, string, []byte) []byte {
	return func(w *wires, _ string, p []byte) []byte {
		if w.family == offloadtest.IPv4 {
			binary.BigEndian.PutUint16(p[2:], uint16(len(p)+more))
			offloadtest.SumIPv4(p)
		} else {
			binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40+more))
		}
		return p
	}
}

func hops(n byte) func(*wires, string, []byte) []byte {
	return func(w *wires, _ string, p []byte) []byte {
		p[map[offloadtest.Family]int{offloadtest.IPv4: 8, offloadtest.IPv6: 7}[w.family]] = n
		offloadtest.SumIPv4(p)
		return p
	}
}

func fragment(bits uint16) func(*wires, string, []byte) []byte {
	return func(_ *wires, _ string, p []byte) []byte {
		binary.BigEndian.PutUint16(p[6:], bits)
		offloadtest.SumIPv4(p)
		return p
	}
}

// payloadOf changes what UDP carries.
func payloadOf(change func([]byte) []byte) func(*wires, string, []byte) []byte {
	return func(w *wires, way string, p []byte) []byte {
		f := w.frame(way, nil)
		f.Payload = change(slices.Clone(p[w.header()+8:]))
		return f.Packet()
	}
}

// try sends a packet of a kind, and an ordinary one after it.
func (w *wires) try(t *testing.T, way string, i int) {
	t.Helper()
	from, _ := w.taps(way)
	kind := bad[i]
	packet := w.frame(way, media(kind.name)).Packet()
	var err error
	if kind.change == nil {
		err = from.SendTo(net.HardwareAddr{2, 9, 9, 9, 9, 9}, packet)
	} else {
		err = from.Send(kind.change(w, way, packet))
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		t.Fatal(err)
	}
	if err := from.Send(w.frame(way, media(kind.name+", and an ordinary one")).Packet()); err != nil {
		t.Fatal(err)
	}
}

// outcome is what has come to the socket at the other end, sorted, when nothing comes any more:
// what goes by the sockets may come later than what the kernel relays.
func (w *wires) outcome(t *testing.T, way string) (came []string) {
	t.Helper()
	for {
		got, ok := w.line.next(t, way, time.Second)
		if !ok {
			break
		}
		came = append(came, fmt.Sprintf("%q", got))
	}
	slices.Sort(came)
	return came
}

// Bad packets are treated alike by the kernel and by the sockets: either both deliver one, and
// the same, or neither does. Ordinary ones between them arrive.
func TestBadPacketsAreTreatedAlike(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	results := make(map[string]map[string][]string)
	for _, path := range []string{"ebpf", "user"} {
		s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: path})
		results[path] = make(map[string][]string)
		for _, f := range offloadtest.Families {
			w := s.wires(t, f, path == "ebpf")
			before, all := s.report(t), 0
			for _, way := range both {
				ordinary := 0
				for i, kind := range bad {
					if (kind.only == 0 || kind.only == f) && (kind.way == "" || kind.way == way) {
						w.try(t, way, i)
						ordinary++
					}
				}
				came := w.outcome(t, way)
				results[path][fmt.Sprint(f, way)] = came
				t.Logf("%s, %v, %s: %d of %d bad ones arrive", path, f, way, len(came)-ordinary, ordinary)
				all += ordinary
			}
			if d := kernelDelta(before, s.report(t)); path == "ebpf" && d["up"]+d["down"] < all {
				t.Errorf("%v: the kernel relayed %v, not even the %d ordinary ones", f, d, all)
			}
			if err := w.line.client.Refresh(brief(t), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	if diff := cmp.Diff(results["user"], results["ebpf"]); diff != "" {
		t.Errorf("what the sockets have delivered, and what the kernel has (+):\n%s", diff)
	}
	for way, came := range results["user"] {
		n := 0
		for _, one := range came {
			if strings.Contains(one, "ordinary") {
				n++
			}
		}
		if n == 0 || n == len(came) {
			t.Errorf("%s: %d of %d that came were ordinary", way, n, len(came))
		}
	}
}
