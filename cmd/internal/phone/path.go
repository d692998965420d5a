package phone

import (
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

// path is what carries the media now, or nil.
func (p *phone) path() *protocol.Path {
	t := p.transport()
	if t == nil {
		return nil
	}
	pair, err := t.GetSelectedCandidatePair()
	if err != nil || pair == nil {
		return nil
	}
	return p.pathOf(pair)
}

func (p *phone) pathOf(pair *webrtc.ICECandidatePair) *protocol.Path {
	path := &protocol.Path{Local: pair.Local.Typ.String(), Remote: pair.Remote.Typ.String(), Protocol: pair.Local.Protocol.String()}
	if pair.Local.Typ == webrtc.ICECandidateTypeRelay {
		way := p.network.wayFrom(related(pair.Local))
		path.Relay, path.Server = way.transport, way.server
	}
	return path
}

// related is the address that a candidate was got from, as host:port: of one of a
// relay, this side's socket for the relay. It is "" for a host's own.
func related(c *webrtc.ICECandidate) string {
	if c.RelatedAddress == "" {
		return ""
	}
	return net.JoinHostPort(c.RelatedAddress, strconv.Itoa(int(c.RelatedPort)))
}

// addressOf is where a candidate is, as host:port.
func addressOf(c *webrtc.ICECandidate) string {
	return net.JoinHostPort(c.Address, strconv.Itoa(int(c.Port)))
}

// transport is the one that carries all media of the call, or nil.
func (p *phone) transport() *webrtc.ICETransport {
	for _, s := range p.peer().GetSenders() {
		if t := s.Transport(); t != nil {
			return t.ICETransport()
		}
	}
	return nil
}

// roundTrip is the newest measured round trip of the path, 0 if there is none.
func (p *phone) roundTrip() time.Duration {
	t := p.transport()
	if t == nil {
		return 0
	}
	pair, ok := t.GetSelectedCandidatePairStats()
	if !ok {
		return 0
	}
	return time.Duration(pair.CurrentRoundTripTime * float64(time.Second))
}

// PathWord is a path in words: the kinds of both sides' candidates, host, srflx, prflx,
// or relay and the transport to it, and the protocol between them. It is "none" for nil.
func PathWord(p *protocol.Path) string {
	if p == nil {
		return "none"
	}
	local := p.Local
	if p.Relay != "" {
		local = fmt.Sprintf("relay(%s)", p.Relay)
	}
	return fmt.Sprintf("%s-%s/%s", local, p.Remote, p.Protocol)
}

// serverOf is the relay of a path, as host:port, "" without one or if it is not known.
func serverOf(p *protocol.Path) string {
	if p == nil {
		return ""
	}
	return p.Server
}
