package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pion/stun/v4"
)

// channel is the channel that the doctor binds (RFC 8656 section 12).
const channel = 0x4000

// strangers looks at what the relay answers to who has no credentials, and to who has
// wrong ones.
func (d *doctor) strangers(ctx context.Context) {
	r := d.routes[0]
	d.stranger(ctx, r)
	s, err := d.open(ctx, r)
	if err != nil {
		return
	}
	defer s.end()
	s.password = "not " + s.password
	if s.username == "" {
		s.username = "nobody"
	}
	err = s.allocate(false, d.until(ctx))
	figure := "answered " + result(err)
	switch code := codeOf(err); {
	case code == 401:
		d.tell(OK, "a wrong password is refused", figure, "")
	case err == nil:
		d.tell(Failed, "a wrong password is refused", figure, "anybody can use this relay: have it check credentials")
	default:
		d.tell(Warning, "a wrong password is refused", figure, "401 was to be expected (RFC 8489 section 9.2.4)")
	}
}

// The factors by which an answer to a stranger may be longer than what was asked, in
// bytes on the wire. RFC 8656 section 21 has why.
const (
	smallAnswer = 1.9
	largeAnswer = 4.0
)

// stranger asks for an allocation without credentials.
func (d *doctor) stranger(ctx context.Context, r route) {
	const check = "answers to strangers are small"
	s, err := d.open(ctx, r)
	if err != nil {
		return
	}
	defer s.end()
	s.username = ""
	err = s.allocate(false, d.until(ctx))
	if err == nil {
		d.tell(Failed, "a stranger is refused", "got an allocation", "this relay is open to anybody: have it check credentials")
		return
	}
	d.either(codeOf(err) == 401, Warning, "a stranger is refused", "answered "+result(err), "401 was to be expected (RFC 8489 section 9.2.4)")
	if s.first.answered == 0 {
		return
	}
	const headers = 28 // of IPv4 and UDP
	factor := float64(s.first.answered+headers) / float64(s.first.asked+headers)
	figure := fmt.Sprintf("%d bytes to %d, %.1f times", s.first.answered, s.first.asked, factor)
	advice := "a relay that answers with more than it is asked floods whom a sender pretends to be: shorten realm and software"
	switch {
	case factor > largeAnswer:
		d.tell(Failed, check, figure, advice)
	default:
		d.either(factor <= smallAnswer, Warning, check, figure, advice)
	}
}

// result is what came of a request.
func result(err error) string {
	if err == nil {
		return "success"
	}
	if code := codeOf(err); code != 0 {
		return fmt.Sprint(code)
	}
	if errors.Is(err, errNoAnswer) || isTimeout(err) {
		return errNoAnswer.Error()
	}
	return short(err)
}

// relaying opens an allocation on each route and has it relay. It returns the first
// route on which that could be done.
func (d *doctor) relaying(ctx context.Context) (working *route) {
	for _, r := range d.routes {
		if ctx.Err() != nil {
			return nil
		}
		s, err := d.allocate(ctx, r, false)
		if err != nil {
			d.notAllocated(r, err)
			if code := codeOf(err); code == 401 || code == 403 || code == 486 || code == 508 {
				return nil // the same on all routes
			}
			continue
		}
		d.tell(OK, "allocate over "+r.String(), "relayed at "+s.relayed.String(), "")
		d.public(s.relayed)
		d.echoes(ctx, s)
		s.end()
		if working == nil {
			working = &r
		}
	}
	return working
}

func (d *doctor) notAllocated(r route, err error) {
	check, figure := "allocate over "+r.String(), "answered "+result(err)
	switch codeOf(err) {
	case 401:
		d.tell(Failed, check, figure, "the relay does not accept these credentials: its secret is another, they have expired, or a clock is wrong; compare relay_secret_file here and there, and: timedatectl")
	case 486:
		d.tell(Failed, check, figure, "a quota is used up: relay.quotas")
	case 508:
		d.tell(Failed, check, figure, "the relay drains, or has no ports left: switchboard admin relays; relay.relay_ports and relay.quotas.allocations")
	default:
		d.tell(Failed, check, figure, "see the relay's log")
	}
}

// public judges an address of relay sockets, once.
func (d *doctor) public(relayed netip.AddrPort) {
	if slices.Contains(d.relayed, relayed.Addr()) {
		return
	}
	d.relayed = append(d.relayed, relayed.Addr())
	check := "relayed address is public"
	if isPublic(relayed.Addr()) {
		d.tell(OK, check, relayed.Addr().String(), "")
		return
	}
	advice := "peers elsewhere cannot reach it: set relay.public_addresses to the address outside the NAT"
	if d.Development {
		advice = "development: only this machine and its network can use this relay"
	}
	d.tell(d.unless(Failed), check, relayed.Addr().String(), advice)
}

// isPublic reports whether an address is one of the internet's.
func isPublic(a netip.Addr) bool {
	for _, n := range notPublic {
		if n.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate()
}

// notPublic are networks that look public and are not (RFC 6598, RFC 5737, RFC 2544, RFC
// 3849, RFC 9637).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"),
}

// echoes has packets relayed to a peer and back, in both ways that there are.
func (d *doctor) echoes(ctx context.Context, s *session) {
	f := d.farFor(ctx, s)
	if f == nil {
		return
	}
	if err := d.let(ctx, s, f); err != nil {
		d.tell(Failed, "permission over "+s.route.String(), "answered "+result(err), "the relay refuses a public peer: look at relay.peers.deny")
		return
	}
	d.echo(ctx, s, f, "indications", 0)
	if err := s.bind(channel, f.address(), d.until(ctx)); err != nil {
		d.tell(Failed, "channel over "+s.route.String(), "answered "+result(err), "the relay binds no channel to a public peer: see its log")
		return
	}
	d.echo(ctx, s, f, "channels", channel)
}

// let has both sides let each other's packets in.
func (d *doctor) let(ctx context.Context, s *session, f far) error {
	if err := s.permit(f.address().Addr(), d.until(ctx)); err != nil {
		return err
	}
	return f.let(s.relayed, d.until(ctx))
}

func (d *doctor) echo(ctx context.Context, s *session, f far, by string, on uint16) {
	check := fmt.Sprintf("relays both ways by %s over %s", by, s.route)
	e := bounce(s, f, on, probe(100), d.until(ctx))
	switch {
	case !e.out:
		d.tell(Failed, check, "nothing reached the peer", "the relay sends nothing out: let UDP out of its machine, from "+s.relayed.Addr().String())
	case e.from.Addr() != s.relayed.Addr():
		d.tell(Failed, check, fmt.Sprintf("came from %v, not %v", e.from, s.relayed.Addr()), "peers see another address than the relay says: set relay.public_addresses to "+e.from.Addr().String())
	case !e.back:
		d.tell(Failed, check, "nothing came back", "let UDP to the relay ports (relay.relay_ports, 49152-65535) in through the firewalls and security groups of "+s.relayed.Addr().String())
	default:
		d.echoed = true
		d.tell(OK, check, millis(e.took)+f.how(), "")
	}
}

// echoed is how far a packet came.
type echoed struct {
	out, back bool
	from      netip.AddrPort // whom the peer had it from
	took      time.Duration
}

// again is how long to wait before a packet that is lost is sent again.
const again = 400 * time.Millisecond

// bounce sends a packet through an allocation, by an indication if the channel is 0, and
// has the peer send it back.
func bounce(s *session, f far, on uint16, body []byte, until time.Time) (e echoed) {
	for !e.back && time.Now().Before(until) {
		turn := earlier(time.Now().Add(again), until)
		began := time.Now()
		var err error
		if on == 0 {
			err = s.sendTo(f.address(), body, turn)
		} else {
			err = s.sendOn(on, body, turn)
		}
		if err != nil {
			return e
		}
		from, ok := f.receive(body, turn)
		if !ok {
			continue
		}
		e.out, e.from = true, from
		if f.send(body, s.relayed, turn) != nil {
			return e
		}
		for {
			p, err := s.packet(turn)
			if err != nil {
				break
			}
			if string(p.body) == string(body) && p.channel == on {
				e.back, e.took = true, time.Since(began)
				break
			}
		}
	}
	return e
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// probe returns a packet of a length that no other packet is like.
func probe(length int) []byte {
	b := make([]byte, length)
	id := stun.NewTransactionID()
	copy(b[1:], id[:])
	b[0] = 0x80 // as media begins
	return b
}
