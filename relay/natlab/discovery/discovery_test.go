package discovery_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/discovery"
	"switchboard/relay/natlab/nat"
)

// server runs a STUN server of two addresses on a host of the internet, until the world is
// closed. It answers as RFC 5780 says, but for padding and response ports.
func server(t *testing.T, w *natlab.World) netip.AddrPort {
	t.Helper()
	h := w.Internet().AddHost("stun")
	addrs := []netip.Addr{h.Addrs()[0], h.AddAddrs()[0]}
	var socks [2][2]net.PacketConn
	var running sync.WaitGroup
	t.Cleanup(func() {
		w.Close()
		running.Wait()
	})
	for i, a := range addrs {
		for j := range socks[i] {
			c, err := h.ListenPacket("udp", netip.AddrPortFrom(a, 3478+uint16(j)).String())
			if err != nil {
				t.Fatal(err)
			}
			socks[i][j] = c
		}
	}
	for i := range socks {
		for j := range socks[i] {
			other := &stun.OtherAddress{IP: addrs[1-i].AsSlice(), Port: 3478 + 1 - j}
			running.Go(func() { serve(&socks, i, j, other) })
		}
	}
	return netip.AddrPortFrom(addrs[0], 3478)
}

func serve(socks *[2][2]net.PacketConn, i, j int, other *stun.OtherAddress) {
	b := make([]byte, 1500)
	for {
		n, from, err := socks[i][j].ReadFrom(b)
		if err != nil {
			return
		}
		m := &stun.Message{Raw: b[:n]}
		if m.Decode() != nil {
			continue
		}
		x, y := i, j
		if change, err := m.Get(stun.AttrChangeRequest); err == nil {
			x ^= int(change[3] >> 2 & 1)
			y ^= int(change[3] >> 1 & 1)
		}
		a := from.(*net.UDPAddr)
		answer := stun.MustBuild(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess, &stun.XORMappedAddress{IP: a.IP, Port: a.Port}, other)
		socks[x][y].WriteTo(answer.Raw, from)
	}
}

func client(h *natlab.Host, server netip.AddrPort) discovery.Client {
	return discovery.Client{
		Listen: func() (net.PacketConn, error) { return h.ListenPacket("udp", ":0") },
		Server: server,
		Own:    h.Addrs(),
		Wait:   time.Second,
	}
}

func TestDiscover(t *testing.T) {
	for _, mapping := range nat.Behaviors() {
		for _, filtering := range nat.Behaviors() {
			for _, hairpin := range []bool{false, true} {
				n := nat.NAT{Mapping: mapping, Filtering: filtering, Hairpin: hairpin}
				t.Run(mapping.String()+"/"+filtering.String(), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						w := natlab.NewWorld(1)
						at := server(t, w)
						h := w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &n}, natlab.NetworkSpec{}).AddHost("phone")
						got, err := client(h, at).Discover(t.Context())
						if err != nil {
							t.Fatal(err)
						}
						// Endpoints that depend on the destination cannot be known to a strict filter.
						seen := hairpin && (mapping == nat.EndpointIndependent || filtering != nat.AddressAndPortDependent)
						if got.Mapping != mapping || got.Filtering != filtering || got.Hairpin != seen || !got.Translated || !got.Preserved {
							t.Errorf("got %+v", got)
						}
					})
				})
			}
		}
	}
}

func TestNAT64(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		at := server(t, w)
		n := nat.NAT{Mapping: nat.AddressDependent, Hairpin: true, NAT64: true}
		h := w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &n}, natlab.NetworkSpec{}).AddHost("phone")
		c := client(h, netip.AddrPortFrom(nat.Embed(at.Addr()), at.Port()))
		c.Known = nat.Embed
		got, err := c.Discover(t.Context())
		if err != nil || got.Mapping != nat.AddressDependent || got.Filtering != nat.EndpointIndependent || !got.Hairpin {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestWithoutNAT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		at := server(t, w)
		h := w.Internet().AddHost("phone")
		got, err := client(h, at).Discover(t.Context())
		want := discovery.Verdict{External: got.External, Preserved: true, Hairpin: true}
		if err != nil || got != want || got.External.Addr() != h.Addrs()[0] {
			t.Errorf("got %+v, %v", got, err)
		}
	})
}

func TestNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := natlab.NewWorld(1)
		at := server(t, w)
		h := w.Internet().AddRouter("box", natlab.RouterSpec{NAT: &nat.NAT{}, Firewall: natlab.Firewall{BlockUDP: true}}, natlab.NetworkSpec{}).AddHost("phone")
		got, err := client(h, at).Discover(t.Context())
		if err != nil || got != (discovery.Verdict{Blocked: true}) {
			t.Errorf("got %+v, %v", got, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if _, err := client(h, at).Discover(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 100*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}
