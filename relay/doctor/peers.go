package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// danger is a peer that a relay must refuse.
type danger struct {
	at   netip.AddrPort
	what string
	// tried says that a relay for trying out may allow it.
	tried bool
	// portOnly says that the address may be permitted, but no channel to the port.
	portOnly bool
	// minor makes it a warning where it is allowed.
	minor bool
}

// aPort is the first of some ports that no policy of ports refuses. Each peer has
// another: a client may bind but one channel to one (RFC 8656 section 12.1).
const aPort = 4222

// dangers are peers that no relay on the internet should send to: it would reach what
// is beside it and trusts it. IPv4 addresses stand in IPv6 in the ways that systems
// translate back.
func dangers() []danger {
	port := uint16(aPort)
	at := func(a string) netip.AddrPort {
		port++
		return netip.AddrPortFrom(netip.MustParseAddr(a), port)
	}
	return []danger{
		{at: at("127.0.0.1"), what: "loopback", tried: true},
		{at: at("10.0.0.1"), what: "private", tried: true},
		{at: at("172.16.0.1"), what: "private", tried: true},
		{at: at("192.168.0.1"), what: "private", tried: true},
		{at: at("100.64.0.1"), what: "shared", tried: true},
		{at: at("169.254.169.254"), what: "metadata of clouds"},
		{at: at("0.0.0.0"), what: "this machine on Linux"},
		{at: at("224.0.0.1"), what: "multicast"},
		{at: at("255.255.255.255"), what: "broadcast"},
		{at: at("::1"), what: "loopback", tried: true},
		{at: at("::ffff:127.0.0.1"), what: "loopback, mapped", tried: true},
		{at: at("::ffff:169.254.169.254"), what: "metadata, mapped"},
		{at: at("64:ff9b::7f00:1"), what: "loopback by NAT64"},
		{at: at("2002:7f00:1::"), what: "loopback by 6to4"},
		{at: at("fe80::1"), what: "link-local"},
		{at: at("fd00::1"), what: "private", tried: true},
		{at: at("ff02::1"), what: "multicast"},
		{at: netip.MustParseAddrPort("198.41.0.4:53"), what: "a port below 1024", minor: true, portOnly: true},
	}
}

// peers tries peers that must be refused. Nothing is sent to them.
func (d *doctor) peers(ctx context.Context, r route) {
	s, err := d.allocate(ctx, r, false)
	if err != nil {
		d.tell(Warning, "dangerous peers are refused", "not looked at", "no further allocation could be opened (answered "+result(err)+")")
		return
	}
	defer s.end()
	four, six := s, (*session)(nil)
	if s.relayed.Addr().Is6() {
		four, six = nil, s
	} else if b, err := d.allocate(ctx, r, true); err == nil && b.relayed.Addr().Is6() {
		defer b.end()
		six = b
	}
	all := dangers()
	for _, one := range []*session{four, six} {
		if one != nil {
			own := netip.AddrPortFrom(one.relayed.Addr(), r.at.Port())
			all = append(all, danger{at: own, what: "the relay's own service", portOnly: true},
				danger{at: netip.AddrPortFrom(own.Addr(), aPort), what: "another port of the relay's", portOnly: true, tried: true})
		}
	}
	for i, p := range all {
		on := four
		if on == nil || p.at.Addr().Is6() && six != nil {
			on = six
		}
		if on == nil || ctx.Err() != nil {
			continue
		}
		d.refuses(ctx, on, p, channel+uint16(i))
	}
	d.loop(ctx, s, r)
}

// refuses asks for a permission and for a channel, of a number that no other has.
func (d *doctor) refuses(ctx context.Context, s *session, p danger, number uint16) {
	check := fmt.Sprintf("refuses peer %v (%s)", p.at.Addr(), p.what)
	if p.portOnly {
		check = fmt.Sprintf("refuses peer %v (%s)", p.at, p.what)
	}
	var permitted error = refused{}
	if !p.portOnly {
		permitted = s.permit(p.at.Addr(), d.until(ctx))
	}
	bound := s.bind(number, p.at, d.until(ctx))
	figure := "permission " + result(permitted) + ", channel " + result(bound)
	if p.portOnly {
		figure = "channel " + result(bound)
	}
	if permitted != nil && bound != nil {
		if refusal(permitted) && refusal(bound) {
			d.tell(OK, check, figure, "")
		} else {
			d.tell(Warning, check, figure, "403 was to be expected")
		}
		return
	}
	advice := "who has credentials reaches it through this relay: deny it (relay.peers.allow lets too much in; with turnserver, denied-peer-ip and no allow-loopback-peers)"
	switch {
	case p.tried && d.Development:
		d.tell(Warning, check, figure, "development: never let others use it")
	case p.minor:
		d.tell(Warning, check, figure, "services such as DNS answer to whomever they believe has asked, through this relay")
	default:
		d.tell(Failed, check, figure, advice)
	}
}

// refusal reports whether an answer is one, or no question was asked.
func refusal(err error) bool {
	r, ok := err.(refused)
	return ok && (r.code == 0 || r.code == 400 || r.code == 403 || r.code == 443)
}

// loop sends a STUN request to the relay through itself: a permission has no port, so
// that each packet must be judged.
func (d *doctor) loop(ctx context.Context, s *session, r route) {
	const check = "relays no packets to itself"
	own := netip.AddrPortFrom(s.relayed.Addr(), r.at.Port())
	if err := s.permit(own.Addr(), d.until(ctx)); err != nil {
		d.tell(OK, check, "permission "+result(err), "")
		return
	}
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	end := earlier(time.Now().Add(3*again), d.until(ctx))
	for time.Now().Before(end) && ctx.Err() == nil {
		turn := earlier(time.Now().Add(again), end)
		if s.sendTo(own, m.Raw, turn) != nil {
			break
		}
		for {
			p, err := s.packet(turn)
			if err != nil {
				break
			}
			answer := &stun.Message{Raw: p.body}
			if stun.IsMessage(p.body) && answer.Decode() == nil && answer.TransactionID == m.TransactionID {
				d.tell(Failed, check, "answered itself", "its own services can be reached through it, from an address that they trust: deny its own addresses but for relay ports")
				return
			}
		}
	}
	d.tell(OK, check, "no answer", "")
}
