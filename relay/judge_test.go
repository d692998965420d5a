package relay

import (
	"net/netip"
	"testing"
)

// What a flow may is judged anew when the policy changes, and with each packet where the
// peer is another allocation, which may end.
func TestPolicyJudges(t *testing.T) {
	public, relayed := netip.MustParseAddr("5.5.5.5"), false
	p := newPolicy(Config{}, []netip.Addr{public}, func(netip.AddrPort) bool { return relayed })
	elsewhere := &flow{peer: netip.MustParseAddrPort("9.9.9.9:5000")}
	here := &flow{peer: netip.AddrPortFrom(public, 5000)}
	expect := func(what string, f *flow, want denial) {
		t.Helper()
		for range 2 { // what is remembered is the same
			if d := p.judge(f); d != want {
				t.Errorf("%s: %q, want %q", what, d, want)
			}
		}
	}
	expect("a public peer", elsewhere, allowed)
	expect("a port of ours without an allocation", here, deniedOwn)
	relayed = true
	expect("a port of ours with one", here, allowed)
	relayed = false
	expect("when that has ended", here, deniedOwn)
	p.setOwn([]netip.Addr{elsewhere.peer.Addr()})
	expect("a peer whose address has become ours", elsewhere, deniedOwn)
	p.setOwn(nil)
	expect("and no longer", elsewhere, allowed)
}
