package main

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/relay"
)

func TestRelaysOfThisProcess(t *testing.T) {
	addrs := relay.Addrs{UDP: &net.UDPAddr{Port: 3478}, TCP: &net.TCPAddr{Port: 3478}}
	withTLS := addrs
	withTLS.TLS = &net.TCPAddr{Port: 5349}
	public := relay.Config{Listen: ":3478", PublicAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}}
	for _, test := range []struct {
		name       string
		ice        ICEConfig
		relay      relay.Config
		addrs      relay.Addrs
		stun, turn []string
	}{
		{"public addresses", ICEConfig{}, public, addrs,
			[]string{"stun:192.0.2.1:3478", "stun:[2001:db8::1]:3478"},
			[]string{"turn:192.0.2.1:3478?transport=udp", "turn:192.0.2.1:3478?transport=tcp",
				"turn:[2001:db8::1]:3478?transport=udp", "turn:[2001:db8::1]:3478?transport=tcp"}},
		{"a name", ICEConfig{Host: "relay.example"}, public, withTLS,
			[]string{"stun:relay.example:3478"},
			[]string{"turn:relay.example:3478?transport=udp", "turn:relay.example:3478?transport=tcp", "turns:relay.example:5349?transport=tcp"}},
		{"the address listened on", ICEConfig{}, relay.Config{Listen: "127.0.0.1:0"}, addrs,
			[]string{"stun:127.0.0.1:3478"}, []string{"turn:127.0.0.1:3478?transport=udp", "turn:127.0.0.1:3478?transport=tcp"}},
		{"others configured", ICEConfig{STUNURLs: []string{"stun:a"}, TURNURLs: []string{"turn:b"}}, public, addrs,
			[]string{"stun:a"}, []string{"turn:b"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &relays{stun: test.ice.STUNURLs, turn: test.ice.TURNURLs}
			r.add(relayHosts(test.ice, test.relay), test.addrs)
			if diff := cmp.Diff([][]string{test.stun, test.turn}, [][]string{r.stun, r.turn}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNoRelayAtAll(t *testing.T) {
	r := &relays{}
	if ice := r.For("call", "account", time.Now()); ice.Servers == nil || len(ice.Servers) > 0 || ice.TTLMS != 0 {
		t.Errorf("got %+v, want an empty list", ice)
	}
}
