package natlab_test

import (
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay/natlab"
)

// probe is a STUN server of two addresses and two ports (RFC 5780).
type probe struct {
	addrs [2]netip.Addr
	socks [2][2]net.PacketConn // by address and port
}

var probePorts = [2]uint16{3478, 3479}

// The bits of CHANGE-REQUEST (RFC 5780 section 7.2).
const (
	changeAddress = 4
	changePort    = 2
)

// newProbe runs one on a new host of the internet, until the world is closed.
func newProbe(t *testing.T, w *natlab.World) *probe {
	t.Helper()
	h := w.Internet().AddHost("probe")
	p := &probe{addrs: [2]netip.Addr{h.Addrs()[0], h.AddAddrs()[0]}}
	var running sync.WaitGroup
	t.Cleanup(func() {
		w.Close()
		running.Wait()
	})
	for i, a := range p.addrs {
		for j, port := range probePorts {
			c, err := h.ListenPacket("udp", netip.AddrPortFrom(a, port).String())
			if err != nil {
				t.Fatal(err)
			}
			p.socks[i][j] = c
		}
	}
	for i := range p.socks {
		for j := range p.socks[i] {
			running.Go(func() { p.serve(i, j) })
		}
	}
	return p
}

func (p *probe) serve(i, j int) {
	b := make([]byte, 1500)
	for {
		n, from, err := p.socks[i][j].ReadFrom(b)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: append([]byte(nil), b[:n]...)}
		if m.Decode() != nil {
			continue
		}
		i, j := i, j
		if change, err := m.Get(stun.AttrChangeRequest); err == nil && len(change) == 4 {
			i ^= int(change[3]&changeAddress) >> 2
			j ^= int(change[3]&changePort) >> 1
		}
		a := from.(*net.UDPAddr)
		answer := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: a.IP, Port: a.Port})
		p.socks[i][j].WriteTo(answer.Raw, from)
	}
}

// at is one of the server's endpoints; from inside a NAT64, it is that under the prefix.
func (p *probe) at(h *natlab.Host, i, j int) netip.AddrPort {
	a := p.addrs[i]
	if !h.Addrs()[0].Is4() {
		v6 := natlab.NAT64.Addr().As16()
		v4 := a.As4()
		copy(v6[12:], v4[:])
		a = netip.AddrFrom16(v6)
	}
	return netip.AddrPortFrom(a, probePorts[j])
}

// ask sends a request and waits a second for the answer; the mapped address is invalid
// if none comes.
func ask(t *testing.T, c net.PacketConn, to netip.AddrPort, change byte) netip.AddrPort {
	t.Helper()
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.RawAttribute{Type: stun.AttrChangeRequest, Value: []byte{0, 0, 0, change}})
	if _, err := c.WriteTo(m.Raw, net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatalf("ask %v: %v", to, err)
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 1500)
	for {
		n, _, err := c.ReadFrom(b)
		if err != nil {
			return netip.AddrPort{}
		}
		answer := &stun.Message{Raw: b[:n]}
		if answer.Decode() != nil || answer.TransactionID != m.TransactionID {
			continue
		}
		var mapped stun.XORMappedAddress
		if err := mapped.GetFrom(answer); err != nil {
			t.Fatal(err)
		}
		a, _ := netip.AddrFromSlice(mapped.IP)
		return netip.AddrPortFrom(a.Unmap(), uint16(mapped.Port))
	}
}

func socket(t *testing.T, h *natlab.Host, port string) net.PacketConn {
	t.Helper()
	c, err := h.ListenPacket("udp", ":"+port)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mapping finds a NAT's, as in RFC 5780 section 4.3.
func (p *probe) mapping(t *testing.T, h *natlab.Host) natlab.Behavior {
	t.Helper()
	c := socket(t, h, "0")
	defer c.Close()
	first := ask(t, c, p.at(h, 0, 0), 0)
	other := ask(t, c, p.at(h, 1, 0), 0)
	otherPort := ask(t, c, p.at(h, 1, 1), 0)
	if !first.IsValid() || !other.IsValid() || !otherPort.IsValid() {
		t.Fatal("the server does not answer")
	}
	switch {
	case first == other:
		return natlab.EndpointIndependent
	case other == otherPort:
		return natlab.AddressDependent
	}
	return natlab.AddressAndPortDependent
}

// filtering finds a NAT's, as in RFC 5780 section 4.4.
func (p *probe) filtering(t *testing.T, h *natlab.Host) natlab.Behavior {
	t.Helper()
	c := socket(t, h, "0")
	defer c.Close()
	switch {
	case !ask(t, c, p.at(h, 0, 0), 0).IsValid():
		t.Fatal("the server does not answer")
	case ask(t, c, p.at(h, 0, 0), changeAddress|changePort).IsValid():
		return natlab.EndpointIndependent
	case ask(t, c, p.at(h, 0, 0), changePort).IsValid():
		return natlab.AddressDependent
	}
	return natlab.AddressAndPortDependent
}

// inWorld runs f in a bubble with a world of its own.
func inWorld(t *testing.T, f func(t *testing.T, w *natlab.World)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		defer w.Close()
		f(t, w)
	})
}

func TestDiscovery(t *testing.T) {
	for _, mapping := range natlab.Behaviors() {
		for _, filtering := range natlab.Behaviors() {
			for _, n := range []natlab.NAT{
				{Mapping: mapping, Filtering: filtering},
				{Mapping: mapping, Filtering: filtering, Ports: natlab.RandomPorts},
				{Mapping: mapping, Filtering: filtering, NAT64: true},
			} {
				name := mapping.String() + " mapping, " + filtering.String() + " filtering, " + n.Ports.String() + " ports"
				if n.NAT64 {
					name += ", nat64"
				}
				t.Run(name, func(t *testing.T) {
					inWorld(t, func(t *testing.T, w *natlab.World) {
						p := newProbe(t, w)
						h := w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &n}, natlab.NetworkSpec{}).AddHost("phone")
						if got := p.mapping(t, h); got != mapping {
							t.Errorf("mapping is %v, want %v", got, mapping)
						}
						if got := p.filtering(t, h); got != filtering {
							t.Errorf("filtering is %v, want %v", got, filtering)
						}
					})
				})
			}
		}
	}
	t.Run("double", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			p := newProbe(t, w)
			carrier := w.Internet().AddRouter("cgn", natlab.RouterSpec{NAT: &natlab.NAT{Mapping: natlab.AddressDependent}}, natlab.NetworkSpec{Prefixes: prefixes("100.64.0.0/10")})
			h := carrier.AddRouter("box", natlab.RouterSpec{NAT: &natlab.PortRestricted}, natlab.NetworkSpec{}).AddHost("phone")
			if got := p.mapping(t, h); got != natlab.AddressDependent {
				t.Errorf("mapping is %v", got)
			}
			if got := p.filtering(t, h); got != natlab.AddressAndPortDependent {
				t.Errorf("filtering is %v", got)
			}
			if got := w.Router("cgn").Mappings(); got == 0 {
				t.Error("nothing went through the outer NAT")
			}
		})
	})
	t.Run("none", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			p := newProbe(t, w)
			h := w.Internet().AddRouter("box", natlab.RouterSpec{}, natlab.NetworkSpec{}).AddHost("phone")
			c := socket(t, h, "5000")
			if got, want := ask(t, c, p.at(h, 0, 0), 0), netip.AddrPortFrom(h.Addrs()[0], 5000); got != want {
				t.Errorf("routed, and seen as %v, want %v", got, want)
			}
		})
	})
}
