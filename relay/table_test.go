package relay

import (
	"net/netip"
	"testing"
)

// Requests of one source that race all hear that there is room. Who comes last
// is sent away when the allocation is announced.
func TestSourceQuotaWhenRequestsRace(t *testing.T) {
	tab := newTable(Quotas{AllocationsPerUser: 10, AllocationsPerSource: 2, Allocations: 10}, 0, newMetrics())
	from := netip.MustParseAddr("1.1.1.1")
	for range 3 {
		if err := tab.room(identity{"call", "user"}, from); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []bool{true, true, false} {
		a := &allocation{owner: identity{"call", "user"}, relay: netip.AddrPortFrom(netip.MustParseAddr("5.5.5.5"), uint16(50000+i))}
		if err := tab.open(a); err != nil {
			t.Fatal(err)
		}
		got, ok := tab.announce(a.relay, client{addr: netip.AddrPortFrom(from, uint16(1000+i)), over: overTCP})
		if got != a || ok != want {
			t.Errorf("allocation %d: %v, want %v", i, ok, want)
		}
		if !ok {
			tab.remove(a)
		}
	}
	if tab.len() != 2 || tab.bySource[from] != 2 || tab.byUser["user"] != 2 {
		t.Errorf("counts %d, %v, %v", tab.len(), tab.bySource, tab.byUser)
	}
}
