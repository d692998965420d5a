package main

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/cmd/internal/iceservers"
	"switchboard/relay"
	"switchboard/signaling"
	"switchboard/signaling/protocol"
)

// testMinter makes credentials that no relay takes.
func testMinter(t *testing.T) *relay.Minter {
	t.Helper()
	m, err := relay.NewMinter([]relay.Secret{{ID: "t", Key: make(relay.Key, 16)}}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// servers are the URLs of ice: those that need no credentials, and those that do.
func servers(ice protocol.ICE) (stun, turn []string) {
	for _, s := range ice.Servers {
		if s.Username == "" {
			stun = append(stun, s.URLs...)
		} else {
			turn = append(turn, s.URLs...)
		}
	}
	return stun, turn
}

func TestRelaysOfThisProcess(t *testing.T) {
	addrs := relay.Addrs{UDP: &net.UDPAddr{Port: 3478}, TCP: &net.TCPAddr{Port: 3478}}
	withTLS := addrs
	withTLS.TLS = &net.TCPAddr{Port: 5349}
	public := relay.Config{Listen: ":3478", PublicAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.2")}}
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
			r := &iceservers.List{STUN: test.ice.STUNURLs, TURN: test.ice.TURNURLs, Own: iceservers.URLsOf(relayHosts(test.ice, test.relay), test.addrs), Minter: testMinter(t)}
			stun, turn := servers(r.For(signaling.RelaysFor{Call: "call", Account: "account", Began: time.Now()}))
			if diff := cmp.Diff([][]string{test.stun, test.turn}, [][]string{stun, turn}); diff != "" {
				t.Error(diff)
			}
		})
	}
}
