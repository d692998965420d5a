package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// portsTried is how many allocations are open at a time: fewer than one user of
// Switchboard's may have, and enough to find a firewall that lets in half of the ports.
const portsTried = 8

// ports sends packets to relayed ports from outside.
func (d *doctor) ports(ctx context.Context, r route) {
	const check = "relay ports can be reached"
	var open []*session
	defer func() {
		for _, s := range open {
			s.end()
		}
	}()
	for range portsTried {
		s, err := d.allocate(ctx, r, false)
		if err != nil {
			break // a quota; those that are open will do
		}
		open = append(open, s)
	}
	if len(open) == 0 {
		d.tell(Warning, check, "not looked at", "no further allocation could be opened")
		return
	}
	f := d.far[open[0].relayed.Addr().Is6()]
	if f == nil {
		d.tell(Warning, check, "not looked at", "there is no peer to send from")
		return
	}
	silent := d.silent(ctx, open, f)
	var tried []uint16
	for _, s := range open {
		tried = append(tried, s.relayed.Port())
	}
	slices.Sort(tried)
	figure := fmt.Sprintf("%d of %d between %d and %d", len(open)-len(silent), len(open), tried[0], tried[len(tried)-1])
	if len(silent) > 0 {
		d.tell(Failed, check, figure+"; not "+strings.Join(silent, ", "),
			"let UDP to the relay ports (relay.relay_ports, 49152-65535) in through the firewalls and security groups of "+open[0].relayed.Addr().String())
		return
	}
	d.tell(OK, check, figure+f.how(), "")
}

// silent returns the relayed ports that did not pass on what a peer sent them.
func (d *doctor) silent(ctx context.Context, open []*session, f far) (ports []string) {
	body := probe(100)
	left := slices.Clone(open)
	left = slices.DeleteFunc(left, func(s *session) bool {
		if d.let(ctx, s, f) != nil {
			ports = append(ports, fmt.Sprint(s.relayed.Port()))
			return true
		}
		return false
	})
	end := d.until(ctx)
	for len(left) > 0 && time.Now().Before(end) && ctx.Err() == nil {
		for _, s := range left {
			f.send(body, s.relayed, end)
		}
		turn := earlier(time.Now().Add(again), end)
		left = slices.DeleteFunc(left, func(s *session) bool {
			p, err := s.packet(laterOf(turn, time.Now().Add(atLeast)))
			return err == nil && string(p.body) == string(body)
		})
	}
	for _, s := range left {
		ports = append(ports, fmt.Sprint(s.relayed.Port()))
	}
	slices.Sort(ports)
	return ports
}

// atLeast is how long to look for what has come already.
const atLeast = 5 * time.Millisecond

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
