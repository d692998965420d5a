package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

// far is the peer of an allocation.
type far interface {
	// address is what the relay sends to.
	address() netip.AddrPort
	// let lets in what an allocation sends.
	let(relayed netip.AddrPort, until time.Time) error
	// receive waits for a packet and returns whom it is from.
	receive(body []byte, until time.Time) (from netip.AddrPort, ok bool)
	send(body []byte, to netip.AddrPort, until time.Time) error
	// how says what a figure should say of the way there.
	how() string
	close()
}

// farFor returns a peer for an allocation: a socket of this machine's or, where the
// relay cannot or may not reach that, a second allocation. It is chosen once for each
// family. Nil when there is neither, which is told.
func (d *doctor) farFor(ctx context.Context, s *session) far {
	six := s.relayed.Addr().Is6()
	if f, ok := d.far[six]; ok {
		return f
	}
	f, why := d.socket(ctx, s, six)
	if f == nil {
		if a := d.second(ctx, s, six); a != nil {
			d.tell(Warning, "peer of "+family(six), "a second allocation", why+": packets go from one allocation to another, and not through the relay's firewall; look from a machine with a public address, too")
			f = a
		} else {
			d.tell(Failed, "peer of "+family(six), "none", why+", and no second allocation could be the peer: packets were not relayed")
		}
	}
	if f != nil {
		d.far[six] = f
	}
	return f
}

// socket returns a socket of this machine's as the peer if what an allocation sends
// arrives there, and else why not.
func (d *doctor) socket(ctx context.Context, s *session, six bool) (far, string) {
	p, err := d.newSocketPeer(ctx, s.relayed)
	if err != nil {
		return nil, "this machine has no UDP socket that the relay can reach (" + short(err) + ")"
	}
	switch err := d.let(ctx, s, p); {
	case codeOf(err) == 403:
		p.close()
		return nil, "the relay refuses this machine, " + p.at.Addr().String() + ", as a peer, as it should where that is its own or not public"
	case err != nil:
		p.close()
		return nil, "no permission for this machine (" + result(err) + ")"
	}
	if bounce(s, p, 0, probe(100), d.until(ctx)).out {
		return p, ""
	}
	// A second try, at an allocation, shows whether it was the relay or the way here.
	p.close()
	return nil, "what the relay sends does not reach this machine, as behind a symmetric NAT or a firewall"
}

// second returns a second allocation as the peer.
func (d *doctor) second(ctx context.Context, s *session, six bool) far {
	b, err := d.allocate(ctx, s.route, six)
	if err != nil {
		return nil
	}
	p := &allocationPeer{b}
	if b.relayed.Addr().Is6() != six || d.let(ctx, s, p) != nil {
		p.close()
		return nil
	}
	return p
}

// socketPeer is a socket of this machine's.
type socketPeer struct {
	conn *net.UDPConn
	at   netip.AddrPort // as the relay sees it
	buf  []byte
}

// newSocketPeer opens a socket from which packets go to a relayed address, and asks the
// relay what its address is.
func (d *doctor) newSocketPeer(ctx context.Context, relayed netip.AddrPort) (*socketPeer, error) {
	six := relayed.Addr().Is6()
	var relay netip.AddrPort
	for _, r := range d.routes {
		if r.over == "udp" && r.at.Addr().Is6() == six {
			relay = r.at
		}
	}
	if !relay.IsValid() {
		return nil, errors.New("STUN over UDP is not answered on " + family(six))
	}
	network := "udp4"
	if six {
		network = "udp6"
	}
	// Of a machine with several addresses, the one that the relay will see, and has a
	// permission for.
	route, err := net.DialUDP(network, nil, net.UDPAddrFromAddrPort(relayed))
	if err != nil {
		return nil, err
	}
	from := route.LocalAddr().(*net.UDPAddr).IP
	route.Close()
	conn, err := net.ListenUDP(network, &net.UDPAddr{IP: from})
	if err != nil {
		return nil, err
	}
	dontFragment(conn, six)
	p := &socketPeer{conn: conn, buf: make([]byte, maxMessage)}
	if p.at, err = p.mapped(relay, d.until(ctx)); err != nil {
		conn.Close()
		return nil, err
	}
	return p, nil
}

func (p *socketPeer) mapped(relay netip.AddrPort, until time.Time) (netip.AddrPort, error) {
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	for time.Now().Before(until) {
		if _, err := p.conn.WriteToUDPAddrPort(m.Raw, relay); err != nil {
			return netip.AddrPort{}, err
		}
		p.conn.SetReadDeadline(earlier(time.Now().Add(again), until))
		for {
			n, _, err := p.conn.ReadFromUDPAddrPort(p.buf)
			if err != nil {
				break
			}
			answer := &stun.Message{Raw: p.buf[:n]}
			var at stun.XORMappedAddress
			if answer.Decode() == nil && answer.TransactionID == m.TransactionID && at.GetFrom(answer) == nil {
				return addrPort(at), nil
			}
		}
	}
	return netip.AddrPort{}, errNoAnswer
}

func (p *socketPeer) address() netip.AddrPort { return p.at }
func (p *socketPeer) how() string             { return "" }
func (p *socketPeer) close()                  { p.conn.Close() }

// let sends a packet there: most NATs let in answers alone.
func (p *socketPeer) let(relayed netip.AddrPort, until time.Time) error {
	p.send([]byte{0x80}, relayed, until)
	return nil
}

func (p *socketPeer) receive(body []byte, until time.Time) (netip.AddrPort, bool) {
	p.conn.SetReadDeadline(until)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(p.buf)
		if err != nil {
			return netip.AddrPort{}, false
		}
		if string(p.buf[:n]) == string(body) {
			return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), true
		}
	}
}

func (p *socketPeer) send(body []byte, to netip.AddrPort, until time.Time) error {
	p.conn.SetWriteDeadline(until)
	_, err := p.conn.WriteToUDPAddrPort(body, to)
	return err
}

// allocationPeer is an allocation on the relay itself.
type allocationPeer struct{ s *session }

func (p *allocationPeer) address() netip.AddrPort { return p.s.relayed }
func (p *allocationPeer) how() string             { return ", by two allocations" }
func (p *allocationPeer) close()                  { p.s.end() }

func (p *allocationPeer) let(relayed netip.AddrPort, until time.Time) error {
	return p.s.permit(relayed.Addr(), until)
}

func (p *allocationPeer) receive(body []byte, until time.Time) (netip.AddrPort, bool) {
	for {
		got, err := p.s.packet(until)
		if err != nil {
			return netip.AddrPort{}, false
		}
		if string(got.body) == string(body) {
			return got.from, true
		}
	}
}

func (p *allocationPeer) send(body []byte, to netip.AddrPort, until time.Time) error {
	return p.s.sendTo(to, body, until)
}
