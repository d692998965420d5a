package phone

import (
	"context"
	"net"
	"net/netip"
	"time"

	"switchboard/signaling/protocol"
)

const (
	// lookEvery is how often a phone looks whether it is on another network. ICE alone finds
	// out after 5 s that a path is dead, and not at all if only what is sent is lost, as when a
	// VPN takes over.
	lookEvery = 500 * time.Millisecond
	// signOfLife is how long the server may then be silent until the phone connects to it
	// anew. That it does so in vain costs little.
	signOfLife = 500 * time.Millisecond
)

// carrier is what media goes by.
type carrier struct {
	local string // host:port of this side's socket to a relay, "" for no relay
	// towards is where the first hop of media leads to that is not this side's: the other
	// side, or the relay. It is zero for nothing yet.
	towards netip.AddrPort
	source  netip.Addr // what packets to there have left from
}

// carries notes that media goes from a local address to a remote one from now on, both
// host:port; local is "" unless it is one of a socket to a relay, which is then not closed for
// its silence: ICE sees for itself when media is lost.
func (n *network) carries(local, remote string) {
	n.mu.Lock()
	if relay, ok := n.reached[local]; ok {
		remote = relay
	}
	n.mu.Unlock()
	towards, _ := netip.ParseAddrPort(remote)
	source := n.sourceTo(towards)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.carrier = carrier{local, towards, source}
}

// moved reports whether packets the way of media leave from another address than before,
// once. That there is no way at all is no move.
func (n *network) moved() bool {
	n.mu.Lock()
	c := n.carrier
	n.mu.Unlock()
	if !c.source.IsValid() {
		return false
	}
	now := n.sourceTo(c.towards)
	if !now.IsValid() || now == c.source {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.carrier != c {
		return false // media goes another way meanwhile
	}
	n.carrier.source = now
	return true
}

// sourceTo is the address that packets to an endpoint leave from, the zero one if they
// do not. It sends nothing.
func (n *network) sourceTo(to netip.AddrPort) netip.Addr {
	if !to.IsValid() {
		return netip.Addr{}
	}
	c, err := n.Net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return at.AddrPort().Addr().Unmap()
}

// unlessCarrier closes a socket, except the one that carries media.
func (n *network) unlessCarrier(local string, closeIt func() error) {
	n.mu.Lock()
	carrier := n.carrier.local == local
	n.mu.Unlock()
	if !carrier {
		_ = closeIt() // nobody waits for it
	}
}

// look restarts ICE if the phone is on another network than when media last found its way,
// and the server answers: before that the other side does not hear of it, and what ICE waits
// for the better paths would be over.
func (p *phone) look() {
	if p.times.answered.IsZero() || !p.network.moved() {
		return
	}
	p.o.tell("another network")
	p.call.CheckWithin(signOfLife)
	p.request("report", func(ctx context.Context) error {
		err := p.call.Report(ctx, protocol.CallReport{Media: protocol.MediaDisconnected})
		select {
		case p.heardServer <- struct{}{}:
		default:
		}
		return err
	})
}
