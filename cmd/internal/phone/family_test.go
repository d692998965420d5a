package phone

import (
	"net"
	"testing"

	"github.com/pion/transport/v5"

	"switchboard/signaling/protocol"
)

// addressed is a network with addresses.
type addressed struct {
	transport.Net
	all []string
}

func (a addressed) Interfaces() ([]*transport.Interface, error) {
	i := transport.NewInterface(net.Interface{Index: 1, Name: "eth0"})
	for _, text := range a.all {
		at, mask, err := net.ParseCIDR(text)
		if err != nil {
			return nil, err
		}
		i.AddAddress(&net.IPNet{IP: at, Mask: mask.Mask})
	}
	return []*transport.Interface{i}, nil
}

// Who has IPv6 alone needs a relay to reach those with IPv4 alone, and tells an address of
// IPv4 for the TURN client to ask for one.
func TestFamilyOfRelayedAddresses(t *testing.T) {
	for _, test := range []struct {
		name  string
		addrs []string
		want  string
	}{
		{"both", []string{"192.0.2.1/24", "2001:db8::1/64"}, "[2001:db8::1]:5000"},
		{"IPv6 alone", []string{"fe80::1/64", "2001:db8::1/64"}, "0.0.0.0:5000"},
		{"a link-local address of IPv4", []string{"169.254.1.1/16", "2001:db8::1/64"}, "0.0.0.0:5000"},
		{"no global address", []string{"fe80::1/64"}, "[2001:db8::1]:5000"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := newNetwork(addressed{all: test.addrs}, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer n.leave()
			n.begin(protocol.ICE{})
			at := net.ParseIP("2001:db8::1")
			for _, local := range []net.Addr{&net.UDPAddr{IP: at, Port: 5000}, &net.TCPAddr{IP: at, Port: 5000}} {
				if got := n.relayFamily(local); got.String() != test.want || got.Network() != local.Network() {
					t.Errorf("of %s, told %s", local.Network(), got)
				}
			}
		})
	}
}
