package natlab_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"switchboard/relay/natlab"
)

// twoBehind adds a router with a NAT and two hosts behind it.
func twoBehind(w *natlab.World, n natlab.NAT) (a, b *natlab.Host) {
	inside := w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &n}, natlab.NetworkSpec{})
	return inside.AddHost("alice"), inside.AddHost("bob")
}

// gets is whether a socket gets something within a second.
func gets(c net.PacketConn) (from netip.AddrPort, ok bool) {
	c.SetReadDeadline(time.Now().Add(time.Second))
	_, addr, err := c.ReadFrom(make([]byte, 100))
	if err != nil {
		return from, false
	}
	return addr.(*net.UDPAddr).AddrPort(), true
}

func send(t *testing.T, c net.PacketConn, to netip.AddrPort) {
	t.Helper()
	if _, err := c.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(to)); err != nil {
		t.Fatalf("send to %v: %v", to, err)
	}
}

func TestPortPreservation(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		p := newProbe(t, w)
		alice, bob := twoBehind(w, natlab.NAT{})
		a, b := socket(t, alice, "5000"), socket(t, bob, "5000")
		if got := ask(t, a, p.at(alice, 0, 0), 0).Port(); got != 5000 {
			t.Errorf("port %d, want 5000", got)
		}
		got := ask(t, b, p.at(bob, 0, 0), 0)
		if got.Port() == 5000 || !got.IsValid() {
			t.Errorf("port %d for the second", got.Port())
		}
		if want := w.Router("box").External()[0]; got.Addr() != want {
			t.Errorf("address %v, want %v", got.Addr(), want)
		}
	})
}

func TestMappingTimeout(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		p := newProbe(t, w)
		alice, _ := twoBehind(w, natlab.NAT{Ports: natlab.RandomPorts, Timeout: 30 * time.Second})
		c := socket(t, alice, "0")
		first := ask(t, c, p.at(alice, 0, 0), 0)
		time.Sleep(29 * time.Second)
		if again := ask(t, c, p.at(alice, 0, 0), 0); again != first {
			t.Errorf("after 29 s, %v is %v", first, again)
		}
		time.Sleep(29 * time.Second)
		p.socks[0][0].WriteTo([]byte("answer"), net.UDPAddrFromAddrPort(first))
		if _, ok := gets(c); !ok {
			t.Error("29 s after the last packet out, nothing comes in")
		}
		time.Sleep(time.Second)
		p.socks[0][0].WriteTo([]byte("answer"), net.UDPAddrFromAddrPort(first))
		if _, ok := gets(c); ok {
			t.Error("31 s after the last packet out, the mapping is still there")
		}
		if got := w.Counts().Dropped(natlab.NATNoMapping); got != 1 {
			t.Errorf("%d packets are counted as without a mapping, want 1", got)
		}
		if again := ask(t, c, p.at(alice, 0, 0), 0); again == first {
			t.Error("the mapping is the old one")
		}
	})
}

func TestPortExhaustion(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		p := newProbe(t, w)
		alice, bob := twoBehind(w, natlab.NAT{PortRange: natlab.PortRange{Min: 40000, Max: 40009}})
		for range 10 {
			if got := ask(t, socket(t, alice, "0"), p.at(alice, 0, 0), 0); got.Port() < 40000 || got.Port() > 40009 {
				t.Fatalf("port %d", got.Port())
			}
		}
		c := socket(t, bob, "0")
		if ask(t, c, p.at(bob, 0, 0), 0).IsValid() {
			t.Error("an eleventh socket got through ten ports")
		}
		if got := w.Counts().Dropped(natlab.NATExhausted); got != 1 {
			t.Errorf("%d packets are counted as out of ports, want 1", got)
		}
		time.Sleep(natlab.DefaultTimeout)
		if !ask(t, c, p.at(bob, 0, 0), 0).IsValid() {
			t.Error("after the timeout, nothing is free")
		}
	})
}

func TestHairpin(t *testing.T) {
	for _, tt := range []struct {
		name string
		nat  natlab.NAT
		// before and after bob has sent to alice's external endpoint
		before, after bool
	}{
		{"without", natlab.NAT{}, false, false},
		{"full cone", natlab.NAT{Hairpin: true}, true, true},
		{"port restricted", natlab.NAT{Hairpin: true, Filtering: natlab.AddressAndPortDependent}, false, true},
		{"nat64", natlab.NAT{Hairpin: true, NAT64: true}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *natlab.World) {
				p := newProbe(t, w)
				alice, bob := twoBehind(w, tt.nat)
				a, b := socket(t, alice, "0"), socket(t, bob, "0")
				inner := func(e netip.AddrPort) netip.AddrPort { // as known inside
					if tt.nat.NAT64 {
						v6 := p.at(alice, 0, 0).Addr().As16()
						v4 := e.Addr().As4()
						copy(v6[12:], v4[:])
						return netip.AddrPortFrom(netip.AddrFrom16(v6), e.Port())
					}
					return e
				}
				toA, toB := inner(ask(t, a, p.at(alice, 0, 0), 0)), inner(ask(t, b, p.at(bob, 0, 0), 0))
				send(t, a, toB)
				from, ok := gets(b)
				if ok != tt.before {
					t.Errorf("alice reaches bob: %t, want %t", ok, tt.before)
				}
				if ok && from != toA {
					t.Errorf("bob sees %v, want alice's external endpoint %v", from, toA)
				}
				send(t, b, toA)
				gets(a)
				send(t, a, toB)
				if _, ok := gets(b); ok != tt.after {
					t.Errorf("after bob has sent, alice reaches bob: %t, want %t", ok, tt.after)
				}
				send(t, a, netip.AddrPortFrom(bob.Addrs()[0], b.LocalAddr().(*net.UDPAddr).AddrPort().Port()))
				if _, ok := gets(b); !ok {
					t.Error("neighbours do not reach each other by their own addresses")
				}
			})
		})
	}
}

func TestReboot(t *testing.T) {
	t.Run("udp", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			p := newProbe(t, w)
			alice, _ := twoBehind(w, natlab.Symmetric)
			c := socket(t, alice, "0")
			first := ask(t, c, p.at(alice, 0, 0), 0)
			w.Router("box").Reboot()
			if again := ask(t, c, p.at(alice, 0, 0), 0); again == first || !again.IsValid() {
				t.Errorf("after the reboot, %v is %v", first, again)
			}
		})
	})
	for _, tt := range []struct {
		name string
		nat  natlab.NAT
		want error
	}{
		{"tcp goes on with its port preserved", natlab.FullCone, nil},
		{"tcp is reset with another port", natlab.Symmetric, syscall.ECONNRESET},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *natlab.World) {
				server := w.Internet().AddHost("server")
				alice, _ := twoBehind(w, tt.nat)
				out, in := connect(t, alice, server)
				w.Router("box").Reboot()
				in.Write([]byte("a")) // does not get through, at first
				time.Sleep(time.Second)
				out.Write([]byte("b"))
				if _, err := out.Read(make([]byte, 1)); !errors.Is(err, tt.want) {
					t.Errorf("read: %v, want %v", err, tt.want)
				}
			})
		})
	}
}

func TestFirewall(t *testing.T) {
	setup := func(w *natlab.World, f natlab.Firewall) (phone, server *natlab.Host) {
		server = w.Internet().AddHost("server")
		return w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &natlab.FullCone, Firewall: f}, natlab.NetworkSpec{}).AddHost("phone"), server
	}
	t.Run("udp", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			phone, server := setup(w, natlab.Firewall{BlockUDP: true})
			c := socket(t, server, "99")
			send(t, socket(t, phone, "0"), netip.AddrPortFrom(server.Addrs()[0], 99))
			if _, ok := gets(c); ok {
				t.Error("UDP gets through")
			}
			connect(t, phone, server)
		})
	})
	t.Run("ports", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			phone, server := setup(w, natlab.Firewall{TCPPorts: []uint16{443}})
			connect(t, phone, server)
			l, err := server.Listen("tcp", ":3478")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := phone.DialContext(ctx, "tcp", "server:3478"); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("to another port: %v", err)
			}
			if w.Counts().Dropped(natlab.BlockedPort) == 0 {
				t.Error("nothing is counted as blocked")
			}
		})
	})
}

func TestIPv6(t *testing.T) {
	setup := func(w *natlab.World, how natlab.IPv6) (phone, server *natlab.Host) {
		server = w.Internet().AddHost("server")
		spec := natlab.RouterSpec{NAT: &natlab.FullCone, IPv6: how}
		return w.Internet().AddRouter("box", spec, natlab.NetworkSpec{Prefixes: prefixes("192.168.7.0/24", "2001:db8:7::/64")}).AddHost("phone"), server
	}
	t.Run("routed", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			phone, server := setup(w, natlab.IPv6Routed)
			p, s := socket(t, phone, "5000"), socket(t, server, "6000")
			inside, outside := netip.AddrPortFrom(phone.Addrs()[1], 5000), netip.AddrPortFrom(server.Addrs()[1], 6000)
			send(t, s, inside)
			if _, ok := gets(p); ok {
				t.Error("what nobody asked for comes in")
			}
			send(t, p, outside)
			if from, ok := gets(s); !ok || from != inside {
				t.Errorf("the server got it: %t, from %v, want %v", ok, from, inside)
			}
			send(t, s, inside)
			if _, ok := gets(p); !ok {
				t.Error("the answer does not come in")
			}
			w.Router("box").Reboot()
			send(t, s, inside)
			if _, ok := gets(p); ok {
				t.Error("after a reboot the answer comes in")
			}
			out, _ := connect(t, phone, server)
			if got := out.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); !got.Is6() {
				t.Errorf("connected to %v, want IPv6", got)
			}
		})
	})
	t.Run("blackhole", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			phone, server := setup(w, natlab.IPv6Blackhole)
			send(t, socket(t, phone, "5000"), netip.AddrPortFrom(server.Addrs()[1], 6000))
			start := time.Now()
			out, _ := connect(t, phone, server)
			if got := out.RemoteAddr().(*net.TCPAddr).AddrPort().Addr(); !got.Is4() {
				t.Errorf("connected to %v, want IPv4", got)
			}
			if took := time.Since(start); took != 300*time.Millisecond {
				t.Errorf("connected after %v, want 300 ms: IPv6 is tried first", took)
			}
			if w.Counts().Dropped(natlab.BlackholedIPv6) == 0 {
				t.Error("nothing is counted")
			}
		})
	})
	t.Run("none", func(t *testing.T) {
		inWorld(t, func(t *testing.T, w *natlab.World) {
			phone, server := setup(w, natlab.IPv6None)
			_, err := socket(t, phone, "5000").WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.Addrs()[1], 6000)))
			if !errors.Is(err, syscall.ENETUNREACH) {
				t.Errorf("sending: %v, want unreachable", err)
			}
			connect(t, phone, server)
		})
	})
}

func TestNAT64(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server := w.Internet().AddHost("server")
		inside := w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &natlab.NAT{NAT64: true}}, natlab.NetworkSpec{})
		phone, other := inside.AddHost("phone"), inside.AddHost("other")
		if len(phone.Addrs()) != 1 || !phone.Addrs()[0].Is6() {
			t.Fatalf("the phone has %v, want one IPv6 address", phone.Addrs())
		}
		got, err := phone.LookupHost(t.Context(), "server")
		if err != nil || len(got) != 1 || !strings.HasPrefix(got[0], "64:ff9b::") {
			t.Errorf("the server is at %v (%v)", got, err)
		}
		if got, err := phone.LookupHost(t.Context(), "other"); err != nil || !slices.Equal(got, []string{other.Addrs()[0].String()}) {
			t.Errorf("the neighbour is at %v (%v)", got, err)
		}
		connect(t, phone, server)
		connect(t, phone, other)
		_, err = socket(t, phone, "0").WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(server.Addrs()[0], 1)))
		if !errors.Is(err, syscall.ENETUNREACH) {
			t.Errorf("to an IPv4 address: %v, want unreachable", err)
		}
	})
}

func TestCut(t *testing.T) {
	inWorld(t, func(t *testing.T, w *natlab.World) {
		server := w.Internet().AddHost("server")
		alice, bob := twoBehind(w, natlab.PortRestricted)
		out, in := connect(t, alice, server)
		home := w.Network("box")
		home.Cut()
		out.Write([]byte("x"))
		send(t, socket(t, alice, "1"), netip.AddrPortFrom(bob.Addrs()[0], 1))
		in.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := in.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("through a network that is cut: %v", err)
		}
		home.Restore()
		in.SetReadDeadline(time.Time{})
		start := time.Now()
		if _, err := in.Read(make([]byte, 1)); err != nil {
			t.Errorf("after 10 s: %v", err)
		}
		if took := time.Since(start); took > 6*time.Second {
			t.Errorf("it took TCP %v to notice", took)
		}
	})
}
