package relay

import (
	"net"
	"net/netip"
	"time"

	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// libraryConfig returns what the TURN library is told for clients of one
// transport. Only what it calls is ours; what it logs is not, because it has
// addresses of clients and peers in it and comes for every packet.
func (s *Server) libraryConfig(over transport) turn.ServerConfig {
	return turn.ServerConfig{
		Realm:         s.config.Realm,
		LoggerFactory: silence{},
		AuthHandler:   s.authenticate,
		QuotaHandler:  s.hasRoom,
		EventHandler:  s.events(over),
		InboundMTU:    maxMessage + 1,

		AllocationLifetime: s.lifetimes.allocation,
		PermissionTimeout:  s.lifetimes.permission,
		ChannelBindTimeout: s.lifetimes.channel,
		// Who does not ask for a family gets that of its own address, as browsers
		// expect, where the relay has it.
		StrictAddressFamily: !s.generator.addresses.six.public.IsValid(),
	}
}

// authenticate returns the key that a request must be authenticated with.
func (s *Server) authenticate(r *turn.RequestAttributes) (userID string, key []byte, ok bool) {
	who, key, err := s.keys.key(r.Username, r.Realm, r.Method == stun.MethodAllocate, time.Now())
	if err != nil {
		s.metrics.credentials[verdictOf(err)].Inc()
		return "", nil, false
	}
	return who.String(), key, true
}

// hasRoom answers 486 (Allocation Quota Reached) when it returns false.
func (s *Server) hasRoom(userID, _ string, from net.Addr) bool {
	c, ok := clientOf(from, "")
	if !ok {
		return false
	}
	err := s.table.room(parseIdentity(userID), c.addr.Addr())
	if err != nil {
		s.metrics.refusals[refusalOf(err)].Inc()
	}
	return err == nil
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
		if a := s.table.of(c); a == nil || !s.table.mayPermit(a, peer) {
			s.metrics.refusals[refusedPermissions].Inc()
			return false
		}
		return true
	}
}

// events keeps the table of allocations. The library calls some of these under
// its locks.
func (s *Server) events(over transport) turn.EventHandler {
	permission := func(has bool) func(src, _ net.Addr, _, _, _ string, _ net.Addr, peer net.IP) {
		return func(src, _ net.Addr, _, _, _ string, _ net.Addr, peer net.IP) {
			c, ok := clientOf(src, over)
			if addr, valid := netip.AddrFromSlice(peer); ok && valid {
				s.table.setPermission(c, addr.Unmap(), has)
			}
		}
	}
	channel := func(has bool) func(src, _ net.Addr, _, _, _ string, _, _ net.Addr, number uint16) {
		return func(src, _ net.Addr, _, _, _ string, _, _ net.Addr, number uint16) {
			if c, ok := clientOf(src, over); ok {
				s.table.setChannel(c, number, has)
			}
		}
	}
	return turn.EventHandler{
		OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
			if ok {
				s.metrics.credentials[credentialsOK].Inc()
			} else {
				s.metrics.credentials[credentialsPassword].Inc()
			}
		},
		OnAllocationCreated: func(src, _ net.Addr, _, _, _ string, relay net.Addr, _ int) { s.allocated(src, relay, over) },
		OnAllocationDeleted: func(_, _ net.Addr, _, _, _ string) { s.table.finished() },
		OnPermissionCreated: permission(true),
		OnPermissionDeleted: permission(false),
		OnChannelCreated:    channel(true),
		OnChannelDeleted:    channel(false),
	}
}

func (s *Server) allocated(src, relay net.Addr, over transport) {
	c, _ := clientOf(src, over)
	at, _ := clientOf(relay, over)
	a, ok := s.table.announce(at.addr, c)
	if !ok {
		s.metrics.refusals[refusedQuotaSource].Inc()
		a.close()
	}
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
