package offload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// yard is a network of the test's own: two interfaces of the relay's, with a client at the
// other end of one, and a peer of the other's. It is that of the calling goroutine alone, and
// goes with it.
type yard struct {
	client, peer side
}

// side is an interface of the relay's, and the one that is joined to it.
type side struct {
	relay, other netlink.Link
	socket       int // takes all frames at the other end
}

func newYard(t *testing.T) *yard {
	t.Helper()
	needRights(t)
	runtime.LockOSThread() // for good, so that the thread ends with the goroutine
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	all := trials(testPort)
	return &yard{
		client: newSide(t, "client", all[0].Client.Addr(), all[1].Client.Addr(), all[0].Relay.Addr(), all[1].Relay.Addr()),
		peer:   newSide(t, "peer", all[0].Peer.Addr(), all[1].Peer.Addr()),
	}
}

// newSide joins somebody who has two addresses, of the two families, to the relay, which
// has some more there.
func newSide(t *testing.T, name string, v4, v6 netip.Addr, ours ...netip.Addr) (s side) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(name+": ", err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "to-" + name}, PeerName: name}))
	var err error
	s.relay, err = netlink.LinkByName("to-" + name)
	must(err)
	s.other, err = netlink.LinkByName(name)
	must(err)
	must(errors.Join(netlink.LinkSetUp(s.relay), netlink.LinkSetUp(s.other)))
	gateways := []netip.Prefix{netip.PrefixFrom(v4.Next(), 24), netip.PrefixFrom(v6.Next(), 64)}
	for _, a := range ours {
		gateways = append(gateways, netip.PrefixFrom(a, a.BitLen()))
	}
	for _, p := range gateways {
		must(netlink.AddrAdd(s.relay, &netlink.Addr{
			IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}, Flags: unix.IFA_F_NODAD,
		}))
	}
	for _, a := range []netip.Addr{v4, v6} {
		must(netlink.NeighSet(&netlink.Neigh{
			LinkIndex: s.relay.Attrs().Index, State: netlink.NUD_PERMANENT, IP: a.AsSlice(), HardwareAddr: s.other.Attrs().HardwareAddr,
		}))
	}
	const every = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL<<8&0xffff // in the order of the network
	s.socket, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, every)
	must(err)
	t.Cleanup(func() { unix.Close(s.socket) })
	must(unix.Bind(s.socket, &unix.SockaddrLinklayer{Protocol: every, Ifindex: s.other.Attrs().Index}))
	must(unix.SetsockoptTimeval(s.socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}))
	return s
}

// send sends a frame from the other end to the relay.
func (s side) send(t *testing.T, f frame) {
	t.Helper()
	b := f.bytes()
	copy(b, s.relay.Attrs().HardwareAddr)
	copy(b[6:], s.other.Attrs().HardwareAddr)
	if _, err := unix.Write(s.socket, b); err != nil {
		t.Fatal(err)
	}
}

// expect waits for a frame at the other end.
func (s side) expect(t *testing.T, f frame) {
	t.Helper()
	want := f.bytes()
	copy(want, s.other.Attrs().HardwareAddr)
	copy(want[6:], s.relay.Attrs().HardwareAddr)
	var seen []string
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); {
		b := make([]byte, 2048)
		n, _, err := unix.Recvfrom(s.socket, b, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(b[:n], want) {
			return
		}
		seen = append(seen, fmt.Sprintf("%x", b[:n]))
	}
	t.Fatalf("%s: no frame\n%x, but\n%s", s.other.Attrs().Name, want, strings.Join(seen, "\n"))
}

// how names what attached the program.
func how(c io.Closer) string {
	switch c := c.(type) {
	case attachment:
		return how(c.Closer)
	case filter:
		return "clsact"
	case link.Link:
		return "TCX"
	}
	return fmt.Sprintf("%T", c)
}

// Packets go through the program where it is attached, in whichever way the kernel has.
func TestAttached(t *testing.T) {
	for _, test := range []struct {
		name    string
		classic bool
	}{{"as the kernel has it", false}, {"clsact", true}} {
		t.Run(test.name, func(t *testing.T) {
			y := newYard(t)
			p := openWith(t, func(c *Config) { c.Classic = test.classic })
			names, err := p.Cover(netip.Addr.IsGlobalUnicast)
			if err != nil || len(names) != 2 {
				t.Fatalf("attached to %v: %v", names, err)
			}
			for _, a := range p.attached {
				t.Logf("%s: attached by %s", a.name, how(a))
				if test.classic && how(a) != "clsact" {
					t.Error("not by clsact")
				}
			}
			for _, e := range trials(testPort) {
				y.relay(t, p, e)
			}
			if err := p.Detach(); err != nil {
				t.Error(err)
			}
			for _, s := range []side{y.client, y.peer} {
				if left, err := netlink.FilterList(s.relay, netlink.HANDLE_MIN_INGRESS); err != nil || len(left) > 0 {
					t.Errorf("filters that are left: %v, %v", left, err)
				}
			}
		})
	}
}

// relay has a packet relayed each way.
func (y *yard) relay(t *testing.T, p *Path, e Ends) {
	t.Helper()
	f, err := p.Install(e, [2]Meters{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Remove(f)
	f.Extend(p.clock()+int64(time.Minute), true)
	bare := []byte{0x80, 1, 2, 3, 4, 5, 6}
	packed := data(e.Channel, bare)
	y.client.send(t, frame{from: e.Client, to: e.Listener, payload: packed, hops: 64, summed: true})
	y.peer.expect(t, frame{from: e.Relay, to: e.Peer, payload: bare, hops: 63, summed: true})
	y.peer.send(t, frame{from: e.Peer, to: e.Relay, payload: bare, hops: 64, summed: true})
	y.client.expect(t, frame{from: e.Listener, to: e.Client, payload: packed, hops: 63, summed: true})
}
