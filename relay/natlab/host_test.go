package natlab_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pion/transport/v5"

	"switchboard/relay/natlab"
)

// mobile is a world with a phone in a home that can be moved to a carrier's network, and a
// server.
func mobile(w *natlab.World) (phone, server *natlab.Host, home, cell *natlab.Network) {
	server = w.Internet().AddHost("server")
	home = w.Internet().AddRouter("home", natlab.RouterSpec{NAT: &natlab.PortRestricted}, natlab.NetworkSpec{})
	cell = w.Internet().AddRouter("cell", natlab.RouterSpec{NAT: &natlab.Symmetric}, natlab.NetworkSpec{})
	return home.AddHost("phone"), server, home, cell
}

func TestMove(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		phone, server, home, cell := mobile(w)
		old := phone.Addrs()[0]
		bound, err := phone.ListenPacket("udp", netip.AddrPortFrom(old, 0).String())
		if err != nil {
			t.Fatal(err)
		}
		any := socket(t, phone, "0")
		s := socket(t, server, "6000")
		to := at(server, 6000)
		send(t, bound, to)
		from, _ := gets(s)
		tcp, in := connect(t, phone, server)

		phone.Move(cell)
		if got := phone.Addrs()[0]; got == old {
			t.Errorf("the address is still %v", got)
		}
		if _, err := bound.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(to)); !errors.Is(err, syscall.EADDRNOTAVAIL) {
			t.Errorf("sending from an address that is gone: %v", err)
		}
		send(t, s, from)
		if _, ok := gets(bound); ok {
			t.Error("something arrives at an address that is gone")
		}
		send(t, any, to)
		if got, ok := gets(s); !ok || got.Addr() != w.Router("cell").External()[0] {
			t.Errorf("the server got it: %t, from %v", ok, got)
		}
		tcp.Write([]byte("x"))
		in.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := in.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("over the old connection: %v", err)
		}

		phone.Move(home)
		if got := phone.Addrs()[0]; got != old {
			t.Errorf("back home it is %v, was %v", got, old)
		}
		in.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := in.Read(make([]byte, 1)); err != nil {
			t.Errorf("back home, over the old connection: %v", err)
		}
	})
}

func TestJoin(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		phone, server, home, vpn := mobile(w)
		printer := home.AddHost("printer")
		s, p := socket(t, server, "6000"), socket(t, printer, "6000")
		any := socket(t, phone, "0")
		bound, err := phone.ListenPacket("udp", netip.AddrPortFrom(phone.Addrs()[0], 0).String())
		if err != nil {
			t.Fatal(err)
		}
		seenAs := func(c net.PacketConn) netip.Addr {
			t.Helper()
			send(t, c, netip.AddrPortFrom(server.Addrs()[0], 6000))
			from, _ := gets(s)
			return from.Addr()
		}
		homeAddr, vpnAddr := w.Router("home").External()[0], w.Router("cell").External()[0]
		if got := seenAs(any); got != homeAddr {
			t.Errorf("at home, seen as %v", got)
		}
		phone.Join(vpn)
		if got := phone.Networks(); len(got) != 2 || got[0] != vpn {
			t.Errorf("%d networks, want two, the VPN first", len(got))
		}
		if got := seenAs(any); got != vpnAddr {
			t.Errorf("with a VPN, seen as %v", got)
		}
		if got := seenAs(bound); got.IsValid() {
			t.Errorf("from the address at home, seen as %v: the VPN does not know it", got)
		}
		if got := w.Counts().Dropped(natlab.WrongSource); got != 1 {
			t.Errorf("%d packets with a wrong source, want 1", got)
		}
		send(t, bound, netip.AddrPortFrom(printer.Addrs()[0], 6000))
		if _, ok := gets(p); !ok {
			t.Error("the neighbour at home is not reached")
		}
		phone.Leave(vpn)
		phone.Leave(vpn)
		if got := seenAs(any); got != homeAddr {
			t.Errorf("without the VPN, seen as %v", got)
		}
		phone.Leave(home)
		if _, err := any.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.Addrs()[0], 6000))); !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("in no network: %v", err)
		}
	})
}

func TestBind(t *testing.T) {
	const a4, b4, a6 = "198.18.0.2", "198.18.0.3", "[2001:2::2]" // the host's
	for _, tt := range []struct {
		name           string
		network, first string
		other, second  string
		want           error
	}{
		{"the same", "udp4", a4 + ":1", "udp4", a4 + ":1", syscall.EADDRINUSE},
		{"one of all", "udp4", ":1", "udp4", a4 + ":1", syscall.EADDRINUSE},
		{"all with one", "udp4", a4 + ":1", "udp", ":1", syscall.EADDRINUSE},
		{"families", "udp4", ":1", "udp6", ":1", nil},
		{"both families", "udp", ":1", "udp6", a6 + ":1", syscall.EADDRINUSE},
		{"two addresses", "udp4", a4 + ":1", "udp4", b4 + ":1", nil},
		{"not ours", "udp4", ":1", "udp4", "198.18.200.1:1", syscall.EADDRNOTAVAIL},
		{"another family", "udp4", ":1", "udp6", a4 + ":2", net.InvalidAddrError("")},
		{"loopback", "udp4", a4 + ":1", "udp4", "127.0.0.1:1", nil},
		{"another protocol", "udp4", ":1", "tcp4", ":1", nil},
		{"no such network", "udp4", ":1", "sctp", ":1", net.UnknownNetworkError("sctp")},
		{"tcp", "tcp", ":1", "tcp", ":1", syscall.EADDRINUSE},
		{"no port", "udp4", ":1", "udp", "nonsense", net.InvalidAddrError("")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *natlab.World) {
				h := w.Internet().AddHost("h")
				h.AddAddrs()
				listen := func(network, address string) (io.Closer, error) {
					if strings.HasPrefix(network, "tcp") {
						return h.Listen(network, address)
					}
					return h.ListenPacket(network, address)
				}
				first, err := listen(tt.network, tt.first)
				if err != nil {
					t.Fatal(err)
				}
				_, err = listen(tt.other, tt.second)
				if _, any := tt.want.(net.InvalidAddrError); any && err == nil || !any && !errors.Is(err, tt.want) {
					t.Errorf("the second: %v, want %v", err, tt.want)
				}
				first.Close()
				if tt.want == nil {
					return
				}
				if _, err := listen(tt.network, tt.first); err != nil {
					t.Errorf("the first again, after it was closed: %v", err)
				}
			})
		})
	}
}

func TestUDP(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server, a, b := two(t, w)
		if got := server.LocalAddr().String(); got != "[::]:7000" {
			t.Errorf("a socket for all is at %s", got)
		}
		for _, network := range []string{"udp4", "udp6", "udp"} {
			c, err := a.DialContext(t.Context(), network, "b:7000")
			if err != nil {
				t.Fatal(err)
			}
			c.Write([]byte("ping"))
			buf := make([]byte, 3)
			n, from, err := server.ReadFrom(buf)
			if err != nil || string(buf[:n]) != "pin" {
				t.Errorf("%s: got %q, %v, want what fits", network, buf[:n], err)
			}
			if from.String() != c.LocalAddr().String() {
				t.Errorf("%s: from %v, want %v", network, from, c.LocalAddr())
			}
			other := socket(t, b, "0")
			send(t, other, c.LocalAddr().(*net.UDPAddr).AddrPort()) // is not heard
			server.WriteTo([]byte("pong"), from)
			buf = make([]byte, 10)
			if n, err := c.Read(buf); err != nil || string(buf[:n]) != "pong" {
				t.Errorf("%s: got %q, %v", network, buf[:n], err)
			}
			if _, err := c.(net.PacketConn).WriteTo([]byte("x"), from); !errors.Is(err, net.ErrWriteToConnected) {
				t.Errorf("%s: WriteTo on a connected socket: %v", network, err)
			}
			c.Close()
			if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: write after close: %v", network, err)
			}
			if err := c.Close(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: second close: %v", network, err)
			}
		}
	})
}

// two has a socket on one of two hosts.
func two(t *testing.T, w *natlab.World) (server net.PacketConn, a, b *natlab.Host) {
	a, b = w.Internet().AddHost("a"), w.Internet().AddHost("b")
	return socket(t, b, "7000"), a, b
}

func TestSocketFull(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server, a, b := two(t, w)
		c := socket(t, a, "0")
		to := netip.AddrPortFrom(b.Addrs()[0], 7000)
		for range 300 {
			send(t, c, to)
		}
		got := 0
		for {
			if _, ok := gets(server); !ok {
				break
			}
			got++
		}
		if dropped := w.Counts().Dropped(natlab.SocketFull); got+int(dropped) != 300 || got != 256 {
			t.Errorf("%d arrived and %d were dropped", got, dropped)
		}
	})
}

func TestLocalDelivery(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		_, a, b := two(t, w)
		for _, to := range []string{"127.0.0.1", "::1", a.Addrs()[0].String(), "0.0.0.0"} {
			s := socket(t, a, "8000")
			c := socket(t, a, "0")
			send(t, c, netip.AddrPortFrom(netip.MustParseAddr(to), 8000))
			if _, ok := gets(s); !ok {
				t.Errorf("to %s, nothing arrives", to)
			}
			s.Close()
		}
		lo, err := a.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := lo.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(at(b, 7000))); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("from loopback to another host: %v", err)
		}
	})
}

func TestDatagramTooLong(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server, a, _ := two(t, w)
		if _, err := server.WriteTo(make([]byte, 65508), net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Addrs()[0], 1))); !errors.Is(err, syscall.EMSGSIZE) {
			t.Error(err)
		}
	})
}

func TestUDPDeadline(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server, a, _ := two(t, w)
		start := time.Now()
		server.SetReadDeadline(start.Add(time.Second))
		go func() {
			time.Sleep(time.Second / 2)
			server.SetReadDeadline(start.Add(2 * time.Second))
		}()
		if _, _, err := server.ReadFrom(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Errorf("%v after %v, want a timeout after 2 s", err, time.Since(start))
		}
		server.SetWriteDeadline(start)
		if _, err := server.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Addrs()[0], 1))); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write after its deadline: %v", err)
		}
		server.SetDeadline(time.Time{})
		go func() {
			time.Sleep(time.Hour)
			w.Close()
		}()
		if _, _, err := server.ReadFrom(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("at the end of the world: %v", err)
		}
	})
}

func TestNet(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server := w.Internet().AddHost("server")
		inside := w.Internet().AddRouter("home", natlab.RouterSpec{NAT: &natlab.FullCone, IPv6: natlab.IPv6Blackhole}, natlab.NetworkSpec{})
		n := inside.AddHost("phone").Net()
		var names []string
		ifaces, err := n.Interfaces()
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range ifaces {
			addrs, _ := i.Addrs()
			for _, a := range addrs {
				names = append(names, i.Name+" "+a.String())
			}
		}
		want := []string{"lo 127.0.0.1/8", "lo ::1/128", "eth0 192.168.1.2/24", "eth0 2001:db8:1::2/64"}
		if !slices.Equal(names, want) {
			t.Errorf("interfaces %q, want %q", names, want)
		}
		if i, err := n.InterfaceByName("eth0"); err != nil || i.Index != 2 {
			t.Errorf("eth0: %v, %v", i, err)
		}
		if _, err := n.InterfaceByIndex(9); !errors.Is(err, transport.ErrInterfaceNotFound) {
			t.Errorf("interface 9: %v", err)
		}
		for network, want := range map[string]string{"udp": "198.18.0.2:80", "udp4": "198.18.0.2:80", "udp6": "[2001:2::2]:80"} {
			if a, err := n.ResolveUDPAddr(network, "server:80"); err != nil || a.String() != want {
				t.Errorf("%s: %v, %v, want %s", network, a, err, want)
			}
		}
		if a, err := n.ResolveTCPAddr("tcp", ":80"); err != nil || a.IP != nil || a.Port != 80 {
			t.Errorf("no host: %v, %v", a, err)
		}
		if a, err := n.ResolveIPAddr("ip6", "server"); err != nil || a.String() != "2001:2::2" {
			t.Errorf("ip6: %v, %v", a, err)
		}
		if got := server.Addrs()[0].String(); got != "198.18.0.2" {
			t.Errorf("the server is at %s", got)
		}

		l, err := server.Net().CreateListenConfig(nil).Listen(context.Background(), "tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		l.(transport.TCPListener).SetDeadline(time.Now().Add(time.Second))
		if _, err := l.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("accept: %v", err)
		}
		l.(transport.TCPListener).SetDeadline(time.Time{})
		c, err := n.CreateDialer(&net.Dialer{LocalAddr: &net.TCPAddr{Port: 1234}, Timeout: time.Second}).Dial("tcp4", "server:80")
		if err != nil {
			t.Fatal(err)
		}
		in, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := in.RemoteAddr().(*net.TCPAddr); got.Port != 1234 {
			t.Errorf("it comes from %v, want port 1234 preserved", got)
		}
		go func() {
			c.(transport.TCPConn).ReadFrom(bytes.NewReader(make([]byte, 1<<20)))
			c.Close()
		}()
		var got bytes.Buffer
		if n, err := got.ReadFrom(in); n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		l.Close()
		if _, err := n.DialTCP("tcp", nil, &net.TCPAddr{IP: server.Addrs()[0].AsSlice(), Port: 80}); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("after close: %v", err)
		}
	})
}

func TestNamesOfAddersPanic(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		w.Internet().AddHost("h")
		for name, f := range map[string]func(){
			"taken":   func() { w.Internet().AddHost("h") },
			"invalid": func() { w.Internet().AddHost("H") },
			"overlap": func() {
				w.Internet().AddRouter("r", natlab.RouterSpec{}, natlab.NetworkSpec{Prefixes: prefixes("198.18.3.0/24")})
			},
			"numbers": func() {
				w.Internet().AddRouter("r", natlab.RouterSpec{}, natlab.NetworkSpec{Link: natlab.Link{Loss: -1}})
			},
		} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic", name)
					}
				}()
				f()
			}()
		}
		w.Internet().AddRouter("r", natlab.RouterSpec{}, natlab.NetworkSpec{})
	})
}

func TestTrace(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		phone, server, _, _ := mobile(w)
		var got []string
		stop := w.Trace(func(p natlab.Packet) {
			line := p.Node + " " + p.What.String()
			if p.What == natlab.Dropped {
				line += ": " + p.Why.String()
			}
			got = append(got, line)
		})
		c := socket(t, phone, "5000")
		socket(t, server, "6000")
		send(t, c, netip.AddrPortFrom(server.Addrs()[0], 6000))
		send(t, c, netip.AddrPortFrom(server.Addrs()[0], 6001))
		send(t, c, netip.MustParseAddrPort("198.18.99.99:1"))
		send(t, c, netip.MustParseAddrPort("10.0.0.1:1"))
		stop()
		send(t, c, netip.MustParseAddrPort("10.0.0.1:1"))
		want := []string{
			"phone sent", "home forwarded", "server received",
			"phone sent", "home forwarded", "server dropped: no socket",
			"phone sent", "home forwarded", "internet dropped: no host",
			"phone sent", "home forwarded", "internet dropped: no route",
		}
		if !slices.Equal(got, want) {
			t.Errorf("traced %q\nwant %q", got, want)
		}
		c2 := w.Counts()
		if c2.Sent != 5 || c2.Forwarded != 5 || c2.Received != 1 || c2.DroppedAll() != 4 {
			t.Errorf("counts %+v", c2)
		}
	})
}

// A link is in both directions, and for a router's outside as for hosts.
func TestLinkOfNetwork(t *testing.T) {
	inWorld(t, func(t *testing.T, _ *natlab.World) {
		w, err := natlab.Build(1, natlab.Topology{
			Networks: map[string]natlab.NetworkSpec{"home": {Link: natlab.Link{Delay: time.Millisecond}}, natlab.Internet: {Link: natlab.Link{Delay: 10 * time.Millisecond}}},
			Routers:  map[string]natlab.RouterSpec{"box": {Inside: "home", Outside: natlab.Internet, NAT: &natlab.FullCone}},
			Hosts:    map[string]natlab.HostSpec{"a": {Networks: []string{"home"}}, "b": {Networks: []string{"home"}}, "server": {Networks: []string{natlab.Internet}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		c, s := socket(t, w.Host("a"), "0"), socket(t, w.Host("server"), "1")
		start := time.Now()
		send(t, c, netip.AddrPortFrom(w.Host("server").Addrs()[0], 1))
		from, ok := gets(s)
		if took := time.Since(start); !ok || took != 21*time.Millisecond {
			t.Errorf("to the server in %v (%t), want 21 ms", took, ok)
		}
		start = time.Now()
		send(t, s, from)
		gets(c)
		if took := time.Since(start); took != 21*time.Millisecond {
			t.Errorf("from the server in %v, want 21 ms", took)
		}
		n := socket(t, w.Host("b"), "2")
		start = time.Now()
		send(t, c, at(w.Host("b"), 2))
		gets(n)
		if took := time.Since(start); took != 2*time.Millisecond {
			t.Errorf("to the neighbour in %v, want 2 ms", took)
		}
	})
}

// What is under way to a host that moves, or in a network that is cut, is lost.
func TestUnderWay(t *testing.T) {
	for name, tt := range map[string]struct {
		happen func(w *natlab.World)
		want   natlab.Drop
	}{
		"nothing":             {func(*natlab.World) {}, natlab.NotDropped},
		"moved":               {func(w *natlab.World) { w.Host("b").Move(w.Internet()) }, natlab.NoHost},
		"cut":                 {func(w *natlab.World) { w.Network("home").Cut() }, natlab.NetworkCut},
		"crashed":             {func(w *natlab.World) { w.Host("b").Crash() }, natlab.HostDown},
		"crashed and started": {func(w *natlab.World) { w.Host("b").Crash(); w.Host("b").Start() }, natlab.NoSocket},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, _ *natlab.World) {
				w, err := natlab.Build(1, natlab.Topology{
					Networks: map[string]natlab.NetworkSpec{"home": {Link: natlab.Link{Delay: time.Second}}},
					Hosts:    map[string]natlab.HostSpec{"a": {Networks: []string{"home"}}, "b": {Networks: []string{"home"}}},
				})
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				b, err := w.Host("b").ListenPacket("udp", at(w.Host("b"), 1).String())
				if err != nil {
					t.Fatal(err)
				}
				send(t, socket(t, w.Host("a"), "0"), at(w.Host("b"), 1))
				time.Sleep(1500 * time.Millisecond) // it is on its second way, to b
				tt.happen(w)
				if _, ok := gets(b); ok != (tt.want == natlab.NotDropped) {
					t.Errorf("it arrived: %t", ok)
				}
				time.Sleep(time.Second)
				if got := w.Counts().Dropped(tt.want); tt.want != natlab.NotDropped && got != 1 {
					t.Errorf("%d are counted as %v, want 1", got, tt.want)
				}
			})
		})
	}
}

func at(h *natlab.Host, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(h.Addrs()[0], port)
}

// What is sent at the same time arrives in its order.
func TestOrder(t *testing.T) {
	inWorld(t, func(t *testing.T, _ *natlab.World) {
		w, err := natlab.Build(1, natlab.Topology{
			Networks: map[string]natlab.NetworkSpec{natlab.Internet: {Link: natlab.Link{Delay: 10 * time.Millisecond, Jitter: 10 * time.Millisecond}}},
			Hosts:    map[string]natlab.HostSpec{"a": {Networks: []string{natlab.Internet}}, "b": {Networks: []string{natlab.Internet}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		c, s := socket(t, w.Host("a"), "0"), socket(t, w.Host("b"), "1")
		for i := range byte(100) {
			c.WriteTo([]byte{i}, net.UDPAddrFromAddrPort(at(w.Host("b"), 1)))
		}
		b := make([]byte, 1)
		for i := range byte(100) {
			if _, _, err := s.ReadFrom(b); err != nil || b[0] != i {
				t.Fatalf("datagram %d is %d (%v)", i, b[0], err)
			}
		}
	})
}

// The same seed loses the same packets.
func TestSeed(t *testing.T) {
	lost := func(seed uint64) (got []int) {
		inWorld(t, func(t *testing.T, _ *natlab.World) {
			w, err := natlab.Build(seed, natlab.Topology{
				Networks: map[string]natlab.NetworkSpec{natlab.Internet: {Link: natlab.Link{Loss: 0.1}}},
				Hosts:    map[string]natlab.HostSpec{"a": {Networks: []string{natlab.Internet}}, "b": {Networks: []string{natlab.Internet}}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			c, to := socket(t, w.Host("a"), "0"), at(w.Host("b"), 1)
			for i := range 200 {
				before := w.Counts().Dropped(natlab.LinkLoss)
				send(t, c, to)
				if w.Counts().Dropped(natlab.LinkLoss) > before {
					got = append(got, i)
				}
			}
		})
		return got
	}
	first := lost(1)
	if again := lost(1); !slices.Equal(first, again) || len(first) == 0 {
		t.Errorf("lost %v and %v", first, again)
	}
	if other := lost(2); slices.Equal(first, other) {
		t.Errorf("another seed lost the same")
	}
}

func BenchmarkPacket(b *testing.B) {
	for name, l := range map[string]natlab.Link{"at once": {}, "delayed": {Delay: time.Microsecond}} {
		b.Run(name, func(b *testing.B) {
			w, err := natlab.Build(1, natlab.Topology{
				Networks: map[string]natlab.NetworkSpec{"home": {Link: l}, "office": {Link: l}},
				Routers: map[string]natlab.RouterSpec{
					"r1": {Inside: "home", Outside: natlab.Internet, NAT: &natlab.PortRestricted},
					"r2": {Inside: "office", Outside: natlab.Internet, NAT: &natlab.PortRestricted},
				},
				Hosts: map[string]natlab.HostSpec{"alice": {Networks: []string{"home"}}, "bob": {Networks: []string{"office"}}},
			})
			if err != nil {
				b.Fatal(err)
			}
			defer w.Close()
			alice, _ := w.Host("alice").ListenPacket("udp", ":5000")
			bob, _ := w.Host("bob").ListenPacket("udp", ":5000")
			toBob := net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.Router("r2").External()[0], 5000))
			bob.WriteTo(nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(w.Router("r1").External()[0], 5000)))
			payload, buf := make([]byte, 172), make([]byte, 1500)
			b.ReportAllocs()
			for b.Loop() {
				alice.WriteTo(payload, toBob)
				if _, _, err := bob.ReadFrom(buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
