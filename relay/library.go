package relay

import (
	"net"
	"net/netip"
	"time"

	"github.com/pion/logging"
	"github.com/pion/turn/v5"
)

// libraryConfig returns what the TURN library is told for clients of one
// transport. Only what it calls is ours; what it logs is not, because it has
// addresses of clients and peers in it and comes for every packet. There is one of
// the library for each transport, as each takes its own nonces alone.
func (s *Server) libraryConfig(over transport) turn.ServerConfig {
	return turn.ServerConfig{
		Realm:         s.config.Realm,
		LoggerFactory: silence{},
		AuthHandler:   s.credentials(over),
		QuotaHandler:  s.hasRoom,
		EventHandler:  s.events(over),
		InboundMTU:    maxMessage + 1,

		AllocationLifetime: s.lifetimes.allocation,
		PermissionTimeout:  s.lifetimes.permission,
		ChannelBindTimeout: s.lifetimes.channel,
		// Who asks for no family gets IPv4, where the relay has it.
		StrictAddressFamily: len(s.generator.addresses.four) > 0,
		PacketConnConfigs:   []turn.PacketConnConfig{{PacketConn: s.guard.library[over]}},
	}
}

// mayPermit judges permissions of clients of one transport.
func (s *Server) mayPermit(over transport) turn.PermissionHandler {
	return func(from net.Addr, ip net.IP) bool {
		c, ok := clientOf(from, over)
		peer, valid := netip.AddrFromSlice(ip)
		if !ok || !valid {
			return false
		}
		peer = peer.Unmap()
		if d := s.policy.address(peer); d != allowed {
			s.metrics.denied[d].Inc()
			s.metrics.refusals[refusedPeer].Inc()
			return false
		}
		if a := s.table.of(c); a == nil || !s.table.mayPermit(a, peer, time.Now()) {
			s.metrics.refusals[refusedPermissions].Inc()
			return false
		}
		return true
	}
}

// events keeps the table of allocations, and the flows of clients over UDP. The library
// calls some of these under its locks.
func (s *Server) events(over transport) turn.EventHandler {
	permission := func(has bool) func(_, _ net.Addr, _, _, _ string, relay net.Addr, peer net.IP) {
		return func(_, _ net.Addr, _, _, _ string, relay net.Addr, peer net.IP) {
			at, ok := clientOf(relay, over)
			if addr, valid := netip.AddrFromSlice(peer); ok && valid {
				s.table.setPermission(at.addr, addr.Unmap(), has)
				s.flows.permit(s.table.at(at.addr), addr.Unmap(), has)
			}
		}
	}
	channel := func(has bool) func(src, _ net.Addr, _, _, _ string, relay, peer net.Addr, number uint16) {
		return func(src, _ net.Addr, _, _, _ string, relay, peer net.Addr, number uint16) {
			c, ok := clientOf(src, over)
			at, valid := clientOf(relay, over)
			if !ok || !valid {
				return
			}
			s.table.setChannel(at.addr, number, has)
			if over == overUDP {
				s.setFlow(c, at.addr, peer, number, has)
			}
		}
	}
	return turn.EventHandler{
		OnAllocationCreated: func(_, _ net.Addr, _, _, _ string, relay net.Addr, _ int) { s.allocated(relay) },
		OnAllocationDeleted: func(_, _ net.Addr, _, _, _ string) { s.table.finished() },
		OnPermissionCreated: permission(true),
		OnPermissionDeleted: permission(false),
		OnChannelCreated:    channel(true),
		OnChannelDeleted:    channel(false),
	}
}

// setFlow has packets of a channel relayed without the library, or no longer so.
func (s *Server) setFlow(c client, relay netip.AddrPort, peer net.Addr, number uint16, has bool) {
	to, ok := clientOf(peer, c.over)
	a := s.table.at(relay)
	if !has || !ok || a == nil || a.conn.of.front == nil {
		s.flows.remove(c.addr, number, relay)
		return
	}
	f := &flow{client: c.addr, channel: number, peer: to.addr, at: s.guard.addresses.inward(to.addr), relay: a.conn, front: a.conn.of.front}
	f.apart = f.peer == a.relay || f.client.Addr().Zone() != "" || f.peer.Addr().Zone() != ""
	f.toPeer, f.toClient = a.conn.socket.Address(f.at), f.front.socket.Address(f.client)
	f.permitted.Store(s.table.permits(a, f.peer.Addr()))
	s.flows.install(f)
}

func (s *Server) allocated(relay net.Addr) {
	at, _ := clientOf(relay, "")
	s.table.announce(at.addr)
}

// clientOf turns an address of the library's into a client.
func clientOf(a net.Addr, over transport) (client, bool) {
	var ap netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		ap = a.AddrPort()
	case *net.TCPAddr:
		ap = a.AddrPort()
	default:
		return client{}, false
	}
	return client{addr: netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), over: over}, ap.IsValid()
}

// silence is a logger that discards.
type silence struct{}

// NewLogger implements [logging.LoggerFactory].
func (silence) NewLogger(string) logging.LeveledLogger { return silence{} }

// All the following implement [logging.LeveledLogger].

func (silence) Trace(string)          {}
func (silence) Tracef(string, ...any) {}
func (silence) Debug(string)          {}
func (silence) Debugf(string, ...any) {}
func (silence) Info(string)           {}
func (silence) Infof(string, ...any)  {}
func (silence) Warn(string)           {}
func (silence) Warnf(string, ...any)  {}
func (silence) Error(string)          {}
func (silence) Errorf(string, ...any) {}
