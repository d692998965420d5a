package doctor

import (
	"context"
	"fmt"
	"time"
)

// sizes are the payloads that are tried, in bytes. WebRTC sends up to 1200; 1400 and a
// TURN header fit the links that most have.
var sizes = []int{1200, 1280, 1360, 1400, 1432, 1464}

const (
	leastSize = 1200
	goodSize  = 1400
)

// size finds the largest payload that is relayed both ways. Where the system lets it,
// nothing that is sent from here may be fragmented.
func (d *doctor) size(ctx context.Context, r route) {
	if !d.echoed {
		return // nothing comes back at any size
	}
	for _, u := range d.routes {
		if u.over == "udp" {
			r = u
			break
		}
	}
	const check = "largest packet relayed both ways"
	s, err := d.allocate(ctx, r, false)
	if err != nil {
		return
	}
	defer s.end()
	f := d.far[s.relayed.Addr().Is6()]
	if f == nil || d.let(ctx, s, f) != nil || s.bind(channel, f.address(), d.until(ctx)) != nil {
		return // told before
	}
	if r.over == "udp" {
		dontFragment(s.conn, r.at.Addr().Is6())
	}
	best := 0
	for _, n := range sizes {
		end := earlier(time.Now().Add(3*again), d.until(ctx))
		if ctx.Err() != nil || !bounce(s, f, channel, probe(n), end).back {
			break
		}
		best = n
	}
	figure := fmt.Sprintf("%d bytes over %s%s", best, r, f.how())
	switch {
	case best < leastSize:
		d.tell(Failed, check, fmt.Sprintf("less than %d bytes over %s%s", leastSize, r, f.how()),
			"video of WebRTC does not pass: raise the MTU of tunnels on the way to at least 1280, and let ICMP \"fragmentation needed\" through")
	default:
		d.either(best >= goodSize, Warning, check, figure, "a tunnel or VPN is on the way, from here or at the relay; WebRTC works, with less room than most")
	}
}
