package kernel_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/kernel"
)

// build makes a lab that ends with the test.
func build(t *testing.T, top natlab.Topology, opts kernel.Options) *kernel.Lab {
	t.Helper()
	needRoot(t)
	start := time.Now()
	l, err := kernel.Build(t.Context(), top, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %v", time.Since(start))
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return l
}

// street has hosts behind routers of their own, by name, and nothing else.
func street(houses map[string]natlab.RouterSpec) natlab.Topology {
	top := natlab.Topology{
		Networks: make(map[string]natlab.NetworkSpec),
		Routers:  make(map[string]natlab.RouterSpec),
		Hosts:    make(map[string]natlab.HostSpec),
	}
	for name, r := range houses {
		r.Inside, r.Outside = "n-"+name, natlab.Internet
		top.Networks[r.Inside] = natlab.NetworkSpec{}
		top.Routers["r-"+name] = r
		top.Hosts[name] = natlab.HostSpec{Networks: []string{r.Inside}}
	}
	return top
}

// verify has all houses of a street verified at once.
func verify(t *testing.T, l *kernel.Lab, houses map[string]natlab.RouterSpec, coturn bool) {
	t.Helper()
	var all sync.WaitGroup
	for name := range houses {
		all.Go(func() {
			p, err := l.Verify(t.Context(), name, coturn)
			t.Logf("%s: %v; coturn: %v", name, p, p.Coturn)
			if err != nil || coturn && p.Coturn == nil {
				t.Errorf("%s: %v %v", name, err, p.CoturnMissing)
			}
		})
	}
	all.Wait()
}

// TestOldNames has what RFC 3489 had names for verified by two clients, by one that other
// people wrote and by ours, on both kinds of routers.
func TestOldNames(t *testing.T) {
	houses := map[string]natlab.RouterSpec{
		"full-cone": {NAT: &natlab.FullCone},
		"address":   {NAT: &natlab.AddressRestricted},
		"port":      {NAT: &natlab.PortRestricted},
		"symmetric": {NAT: &natlab.Symmetric},
		"no-udp":    {NAT: &natlab.PortRestricted, Firewall: natlab.Firewall{BlockUDP: true}},
		"tls-only":  {NAT: &natlab.PortRestricted, Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{443}}},
		"no-nat":    {},
	}
	for _, how := range []kernel.Routers{kernel.NFTRouters, kernel.TUNRouters} {
		t.Run(string(how), func(t *testing.T) {
			t.Parallel()
			l := build(t, street(houses), kernel.Options{Routers: how})
			verify(t, l, houses, true)
			if got := l.Describe("r-port"); got.How != string(how) {
				t.Errorf("router is %+v, want %s", got, how)
			}
		})
	}
}

// TestNine has each behaviour of a NAT in user space verified, with hairpinning and
// without.
func TestNine(t *testing.T) {
	t.Parallel()
	houses := make(map[string]natlab.RouterSpec)
	for _, mapping := range natlab.Behaviors() {
		for _, filtering := range natlab.Behaviors() {
			for _, hairpin := range []bool{false, true} {
				n := natlab.NAT{Mapping: mapping, Filtering: filtering, Hairpin: hairpin}
				name := fmt.Sprintf("m%d-f%d", mapping, filtering)
				if hairpin {
					name += "-h"
				}
				houses[name] = natlab.RouterSpec{NAT: &n}
			}
		}
	}
	verify(t, build(t, street(houses), kernel.Options{Routers: kernel.TUNRouters}), houses, false)
}

func TestChoice(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		nat natlab.NAT
		how string
		why string
	}{
		"port restricted": {natlab.PortRestricted, "nft", "conntrack"},
		"symmetric":       {natlab.Symmetric, "nft", "conntrack"},
		"hairpinning":     {natlab.NAT{Hairpin: true}, "tun", "hairpinning"},
		"by address":      {natlab.NAT{Mapping: natlab.AddressDependent}, "tun", "address-dependent mapping"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := build(t, behind(natlab.RouterSpec{NAT: &tt.nat}), kernel.Options{})
			if c := l.Describe("box"); c.How != tt.how || !strings.Contains(c.Why, tt.why) {
				t.Errorf("got %+v", c)
			}
		})
	}
	t.Run("not to be expressed", func(t *testing.T) {
		needRoot(t)
		_, err := kernel.Build(t.Context(), behind(natlab.RouterSpec{NAT: &natlab.NAT{Hairpin: true}}), kernel.Options{Routers: kernel.NFTRouters})
		if err == nil || !strings.Contains(err.Error(), "hairpinning") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("two clients", func(t *testing.T) {
		top := behind(natlab.RouterSpec{NAT: &natlab.FullCone})
		top.Hosts["carol"] = natlab.HostSpec{Networks: []string{"home"}}
		needRoot(t)
		_, err := kernel.Build(t.Context(), top, kernel.Options{Routers: kernel.NFTRouters})
		if err == nil || !strings.Contains(err.Error(), "2 hosts") {
			t.Errorf("got %v", err)
		}
		l := build(t, top, kernel.Options{})
		for _, host := range []string{"alice", "carol"} {
			if _, err := l.Verify(t.Context(), host, false); err != nil {
				t.Error(err)
			}
		}
	})
}
