package relay_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
	"switchboard/relay/natlab"
	"switchboard/relay/natlab/labrelay"
)

// The tests of TestVirtual run the relay on a virtual network, in virtual time.

// lab is a world with a relay.
type lab struct {
	*natlab.World
	relay *labrelay.Relay
}

// inLab runs a test in a bubble, in a lab whose relay's settings change may change.
func inLab(t *testing.T, change func(*relay.Config), test func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		defer w.Close()
		r, err := labrelay.Start(w.Internet().AddHost("relay"), labrelay.Options{Change: change})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}()
		test(t, &lab{w, r})
	})
}

// behind adds a host behind NATs, the outermost first; none is in the internet.
func (l *lab) behind(name string, nats ...natlab.NAT) *natlab.Host {
	n := l.Internet()
	for i, nat := range nats {
		n = n.AddRouter(fmt.Sprintf("%s-nat%d", name, i), natlab.RouterSpec{NAT: &nat}, natlab.NetworkSpec{})
	}
	return n.AddHost(name)
}

// caller is a TURN client with an allocation.
type caller struct {
	*labrelay.Client
	net.PacketConn
}

// allocate opens an allocation for a host.
func (l *lab) allocate(t *testing.T, h *natlab.Host, over string) *caller {
	t.Helper()
	c, err := l.relay.Client(t.Context(), h, over, "call", h.Name())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := c.Allocate()
	if err != nil {
		c.Close()
		t.Fatalf("%s over %s: %v", h.Name(), over, err)
	}
	return &caller{c, conn}
}

// close ends the allocation as a client does that says so. The library's client does not
// end well right when it refreshes something, which it does at whole seconds.
func (c *caller) close() {
	time.Sleep(100 * time.Millisecond)
	c.PacketConn.Close()
	time.Sleep(100 * time.Millisecond)
	c.Client.Close()
}

// send has the caller send a packet to a peer.
func (c *caller) send(t *testing.T, text string, to net.Addr) {
	t.Helper()
	if _, err := c.WriteTo([]byte(text), to); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
}

// next returns what comes next, and from whom, or nothing within a second.
func (c *caller) next(t *testing.T) string { return nextOf(t, c.PacketConn) }

// WriteTo is that of the allocation.
func (c *caller) WriteTo(b []byte, to net.Addr) (int, error) { return c.PacketConn.WriteTo(b, to) }

// relayed is the caller's relayed address.
func (c *caller) relayed() net.Addr { return c.PacketConn.LocalAddr() }

// raw returns a client over UDP that sends what a test wants.
func (l *lab) raw(t *testing.T, h *natlab.Host) *raw {
	t.Helper()
	conn, err := h.ListenPacket("udp4", ":0")
	if err != nil {
		t.Fatal(err)
	}
	at, err := h.Net().ResolveUDPAddr("udp4", fmt.Sprintf("%s:%d", l.relay.Host().Name(), labrelay.Port))
	if err != nil {
		t.Fatal(err)
	}
	username, password, _ := l.relay.Mint("call", h.Name())
	return &raw{conn: conn, server: at, as: credentials{username, password}}
}

// relayedOf opens an allocation that may reach a peer, and returns where it is.
func (r *raw) relayedOf(t *testing.T, peer net.PacketConn) net.Addr {
	t.Helper()
	relayed := addressIn(t, r.done(t, r.greet(t).request(t, stun.MethodAllocate, udpRelay)), stun.AttrXORRelayedAddress)
	r.permit(t, peer.LocalAddr().String())
	return net.UDPAddrFromAddrPort(relayed)
}

// nextOf returns the text and the sender of the next packet, or nothing within a second.
func nextOf(t *testing.T, conn net.PacketConn) string {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	b := make([]byte, 2000)
	n, from, err := conn.ReadFrom(b)
	if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		return ""
	} else if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s from %v", b[:n], from)
}

func listen(t *testing.T, h *natlab.Host) net.PacketConn {
	t.Helper()
	conn, err := h.ListenPacket("udp4", netip.AddrPortFrom(h.Addrs()[0], 0).String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestVirtualCall(t *testing.T) {
	carrier := natlab.NAT{Mapping: natlab.AddressDependent, Filtering: natlab.AddressAndPortDependent, Ports: natlab.SequentialPorts}
	for _, access := range []struct {
		name string
		nats []natlab.NAT
	}{
		{"internet", nil},
		{"full cone", []natlab.NAT{natlab.FullCone}},
		{"port restricted", []natlab.NAT{natlab.PortRestricted}},
		{"symmetric", []natlab.NAT{natlab.Symmetric}},
		{"carrier and home", []natlab.NAT{carrier, natlab.Symmetric}},
	} {
		for _, over := range []string{"udp", "tcp", "tls"} {
			t.Run(access.name+" over "+over, func(t *testing.T) {
				inLab(t, nil, func(t *testing.T, l *lab) {
					a := l.allocate(t, l.behind("alice", access.nats...), over)
					defer a.close()
					b := l.allocate(t, l.behind("bob", access.nats...), over)
					defer b.close()
					l.callFor(t, a, b, 2*time.Hour)
				})
			})
		}
	}
}

// callFor has two callers send each other something every 10 s for a time, at first in
// indications and soon in channels.
func (l *lab) callFor(t *testing.T, a, b *caller, d time.Duration) {
	t.Helper()
	for _, x := range []struct{ from, to *caller }{{a, b}, {b, a}} {
		if err := x.from.CreatePermission(x.to.relayed()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	for i := 0; time.Since(began) < d; i++ {
		text := fmt.Sprintf("packet %d", i)
		for _, x := range []struct{ from, to *caller }{{a, b}, {b, a}} {
			x.from.send(t, text, x.to.relayed())
			if got, want := x.to.next(t), fmt.Sprintf("%s from %v", text, x.from.relayed()); got != want {
				t.Fatalf("after %v: %q, want %q", time.Since(began), got, want)
			}
		}
		time.Sleep(10 * time.Second)
	}
	if n := l.relay.Server().Allocations(); n != 2 {
		t.Errorf("%d allocations", n)
	}
}
