package relay

import (
	"net/netip"
	"sync/atomic"

	"github.com/pion/stun/v4"
)

// alternates are other relays, to which clients are sent that this one cannot
// take. It may be used by several goroutines.
type alternates struct {
	four, six []netip.AddrPort // static
	asked     atomic.Uint32
}

func newAlternates(all []netip.AddrPort) *alternates {
	a := &alternates{}
	for _, to := range all {
		to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
		if to.Addr().Is4() {
			a.four = append(a.four, to)
		} else {
			a.six = append(a.six, to)
		}
	}
	return a
}

// next returns those of one family in turn, or nothing when there is none: a
// client can be sent to its own family alone (RFC 8489 section 10).
func (a *alternates) next(family netip.Addr) (netip.AddrPort, bool) {
	list := a.six
	if family.Is4() {
		list = a.four
	}
	if len(list) == 0 {
		return netip.AddrPort{}, false
	}
	return list[a.asked.Add(1)%uint32(len(list))], true
}

// alternate returns where a client is sent to whose Allocate request was refused
// because this relay takes none, or no more. A client over TLS is not sent
// anywhere: it would want the name in the other relay's certificate
// (ALTERNATE-DOMAIN), which few clients read, and a port that is not that for UDP
// and TCP.
func (g *guard) alternate(why refusal, c client) (*stun.AlternateServer, bool) {
	if c.over == overTLS || why != refusedDraining && why != refusedQuotaTotal && why != refusedPorts {
		return nil, false
	}
	to, ok := g.alternates.next(c.addr.Addr())
	if !ok {
		return nil, false
	}
	g.metrics.redirects.Inc()
	return &stun.AlternateServer{IP: to.Addr().AsSlice(), Port: int(to.Port())}, true
}
