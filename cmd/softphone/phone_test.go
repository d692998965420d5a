package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/protocol"
)

// The server must not be told of a relay that is not the one in use.
func TestServerAt(t *testing.T) {
	ice := protocol.ICE{Servers: []protocol.ICEServer{
		{URLs: []string{"stun:192.0.2.1:3478"}},
		{URLs: []string{"turn:192.0.2.1:3478?transport=udp", "turn:192.0.2.1:3478?transport=tcp", "turns:192.0.2.1?transport=tcp"}},
		{URLs: []string{"turn:192.0.2.2?transport=udp", "turn:[2001:db8::2]:3479"}},
	}}
	for transport, want := range map[string][]string{
		"udp": {"192.0.2.1:3478", "192.0.2.2:3478", "[2001:db8::2]:3479"}, "tcp": {"192.0.2.1:3478"}, "tls": {"192.0.2.1:5349"},
	} {
		if diff := cmp.Diff(want, turnServers(ice, transport)); diff != "" {
			t.Errorf("%s: %s", transport, diff)
		}
	}
	for _, test := range []struct {
		name    string
		servers []string
		relayed string
		want    string
	}{
		{"none", nil, "192.0.2.1", ""},
		{"the only one, whatever it relays from", []string{"relay.example:3478"}, "192.0.2.9", "relay.example:3478"},
		{"by its address", []string{"192.0.2.1:3478", "192.0.2.2:3478"}, "192.0.2.2", "192.0.2.2:3478"},
		{"of IPv6", []string{"192.0.2.1:3478", "[2001:db8::2]:3478"}, "2001:db8::2", "[2001:db8::2]:3478"},
		{"another address", []string{"192.0.2.1:3478", "192.0.2.2:3478"}, "192.0.2.9", ""},
		{"two at one address", []string{"127.0.0.1:3478", "127.0.0.1:3479"}, "127.0.0.1", ""},
	} {
		if got := serverAt(t.Context(), test.servers, test.relayed); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
