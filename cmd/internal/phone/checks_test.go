package phone

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/pion/stun/v4"
)

// Checks from ever more endpoints are not taken, but those of the other side's candidates
// are, and what is no check is.
func TestCheckersAreBounded(t *testing.T) {
	check := stun.MustBuild(stun.TransactionID, stun.BindingRequest).Raw
	from := func(at string) net.Addr { return net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)) }
	var c checkers
	for i := range maxCheckers {
		if !c.admits(check, from(fmt.Sprintf("192.0.2.1:%d", 1000+i))) {
			t.Fatalf("the check of endpoint %d is not taken", i)
		}
	}
	c.tell("candidate:1 1 udp 2130706431 192.0.2.2 5000 typ relay raddr 0.0.0.0 rport 0")
	c.tell("candidate:1 1 udp 2130706431 name.local 5000 typ host")
	c.tell("")
	for at, want := range map[string]bool{"192.0.2.1:999": false, "192.0.2.1:1000": true, "192.0.2.2:5000": true, "[::ffff:192.0.2.2]:5000": true, "192.0.2.2:5001": false} {
		if c.admits(check, from(at)) != want {
			t.Errorf("a check from %s is taken: %v", at, !want)
		}
	}
	if !c.admits([]byte{0x80, 0}, from("192.0.2.1:999")) {
		t.Error("media is not taken")
	}
	c.reset()
	if c.admits(check, from("192.0.2.1:999")); len(c.seen) != 1 {
		t.Errorf("%d endpoints are known after a restart, want 1", len(c.seen))
	}
}
