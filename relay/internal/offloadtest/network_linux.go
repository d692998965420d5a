package offloadtest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Family is IPv4 or IPv6.
type Family int

// The families of addresses.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

// Families are both.
var Families = []Family{IPv4, IPv6}

// bitsOf are those of the networks of a cable.
var bitsOf = map[Family]int{IPv4: 24, IPv6: 64}

func (f Family) String() string { return fmt.Sprintf("IPv%d", int(f)) }

// Options are how a [Network] is laid.
type Options struct {
	// ClientMTU and PeerMTU are what the cables take, in bytes of an IP packet. 0 is 1600, so
	// that the longest payload of Ethernet's 1500 goes through in a channel, too.
	ClientMTU, PeerMTU int
	// VLAN is the tag of what goes between relay and peer, 0 for none.
	VLAN int
	// CardSums leaves checksums to the network card where client and peer send, as by default
	// in a namespace; a card of such a cable never makes them.
	CardSums bool
}

// Network is a client's machine, a relay's and a peer's. Its parts may be used from any
// goroutine.
type Network struct {
	Relay *Space
	// The ends of the cables.
	Client, RelayToClient, RelayToPeer, Peer End
}

// End is a machine at one end of a cable.
type End struct {
	*Space
	Device string
	// The addresses that it has there.
	Four, Six netip.Addr
}

// Addr is the address of a family.
func (e End) Addr(f Family) netip.Addr {
	if f == IPv4 {
		return e.Four
	}
	return e.Six
}

// At is a port at the address of a family.
func (e End) At(f Family, port uint16) netip.AddrPort { return netip.AddrPortFrom(e.Addr(f), port) }

// Lay makes a network, until the test ends.
func Lay(t testing.TB, o Options) *Network {
	t.Helper()
	NeedRoot(t)
	var spaces [3]*Space
	for i := range spaces {
		s, err := newSpace()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.close)
		spaces[i] = s
	}
	client, relay, peer := spaces[0], spaces[1], spaces[2]
	n := &Network{
		Relay:         relay,
		Client:        end(client, "toRelay", 1, 2),
		RelayToClient: end(relay, "toClient", 1, 1),
		RelayToPeer:   end(relay, "toPeer", 2, 1),
		Peer:          end(peer, "toRelay", 2, 2),
	}
	if err := join(&n.Client, &n.RelayToClient, mtu(o.ClientMTU), 0, o.CardSums); err != nil {
		t.Fatal(err)
	}
	switch err := join(&n.Peer, &n.RelayToPeer, mtu(o.PeerMTU), o.VLAN, o.CardSums); {
	case errors.Is(err, unix.EOPNOTSUPP) && o.VLAN != 0:
		t.Skip("this kernel has no VLANs (CONFIG_VLAN_8021Q); make bpf-kernels tries them on others")
	case err != nil:
		t.Fatal(err)
	}
	if err := n.routes(); err != nil {
		t.Fatal(err)
	}
	return n
}

func end(s *Space, device string, cable, host int) End {
	return End{s, device, netip.MustParseAddr(fmt.Sprintf("10.71.%d.%d", cable, host)), netip.MustParseAddr(fmt.Sprintf("fd71:%d::%d", cable, host))}
}

func mtu(n int) int {
	if n == 0 {
		return 1600
	}
	return n
}

// join lays a cable between a machine and the relay's. With a tag, it is the devices for that
// tag that have addresses.
func join(a, relay *End, mtu, vlan int, cardSums bool) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = relay.Device, mtu
	cable := &netlink.Veth{LinkAttrs: attrs, PeerName: a.Device, PeerNamespace: netlink.NsFd(a.FD()), PeerMTU: uint32(mtu)}
	if err := relay.links.LinkAdd(cable); err != nil {
		return fmt.Errorf("lay a cable: %w", err)
	}
	for _, e := range []*End{a, relay} {
		if !cardSums && e == a {
			if err := e.sumsOff(); err != nil {
				return err
			}
		}
		if err := e.up(); err != nil {
			return err
		}
		if vlan != 0 {
			if err := e.tag(vlan); err != nil {
				return err
			}
			if !cardSums && e == a {
				if err := e.sumsOff(); err != nil {
					return err
				}
			}
		}
	}
	for _, e := range []*End{a, relay} {
		for _, f := range Families {
			if err := e.AddAddr(netip.PrefixFrom(e.Addr(f), bitsOf[f])); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *End) up() error {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return err
	}
	return e.links.LinkSetUp(l)
}

// tag has an end be the device for a tag, on that which it is.
func (e *End) tag(id int) error {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.ParentIndex = fmt.Sprint("vlan", id), l.Attrs().Index
	if err := e.links.LinkAdd(&netlink.Vlan{LinkAttrs: attrs, VlanId: id}); err != nil {
		return fmt.Errorf("VLAN: %w", err)
	}
	e.Device = attrs.Name
	return e.up()
}

// AddAddr gives the end an address, which works at once.
func (e End) AddAddr(p netip.Prefix) error {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return err
	}
	return e.links.AddrAdd(l, addressOf(p))
}

// RemoveAddr takes an address from the end.
func (e End) RemoveAddr(p netip.Prefix) error {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return err
	}
	return e.links.AddrDel(l, addressOf(p))
}

func addressOf(p netip.Prefix) *netlink.Addr {
	a := &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: maskOf(p)}}
	if p.Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// Index is the number of the end's device.
func (e End) Index() (int, error) {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return 0, err
	}
	return l.Attrs().Index, nil
}

// SetUp takes the end's device up or down, by which IPv6 addresses are lost.
func (e End) SetUp(up bool) error {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return err
	}
	if up {
		return e.links.LinkSetUp(l)
	}
	return e.links.LinkSetDown(l)
}

// SetMTU sets what the end's device takes, in bytes of an IP packet.
func (e End) SetMTU(n int) error {
	l, err := e.links.LinkByName(e.Device)
	if err != nil {
		return err
	}
	return e.links.LinkSetMTU(l, n)
}

// Via routes packets to a network through a neighbour of the end's.
func (e End) Via(to netip.Prefix, neighbour netip.Addr) error {
	index, err := e.Index()
	if err != nil {
		return err
	}
	return e.links.RouteReplace(&netlink.Route{
		LinkIndex: index, Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: maskOf(to)}, Gw: neighbour.AsSlice(),
	})
}

// Lose has the machine know no way to a network, or know again what it knew.
func (e End) Lose(to netip.Prefix, lost bool) error {
	r := &netlink.Route{Dst: &net.IPNet{IP: to.Addr().AsSlice(), Mask: maskOf(to)}, Type: unix.RTN_UNREACHABLE}
	if lost {
		return e.links.RouteAdd(r)
	}
	return e.links.RouteDel(r)
}

// Forget has the end forget who its neighbours are.
func (e End) Forget() error {
	index, err := e.Index()
	if err != nil {
		return err
	}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := e.links.NeighList(index, family)
		if err != nil {
			return err
		}
		for _, one := range all {
			if one.State&(unix.NUD_NOARP|unix.NUD_PERMANENT) != 0 {
				continue
			}
			if err := e.links.NeighDel(&one); err != nil {
				return err
			}
		}
	}
	return nil
}

// routes has client and peer reach each other's networks through the relay's machine.
func (n *Network) routes() error {
	for _, way := range []struct{ from, to, via End }{{n.Client, n.Peer, n.RelayToClient}, {n.Peer, n.Client, n.RelayToPeer}} {
		for _, f := range Families {
			to, err := way.to.Addr(f).Prefix(bitsOf[f])
			if err != nil {
				return err
			}
			if err := way.from.Via(to, way.via.Addr(f)); err != nil {
				return err
			}
		}
	}
	return nil
}
