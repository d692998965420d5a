package relay

import (
	"net"
	"time"

	"github.com/pion/stun/v4"
	"github.com/pion/turn/v5"
)

// credentials returns what tells the TURN library the key of a request. The guard
// has checked it, and counts it.
func (s *Server) credentials(over transport) turn.AuthHandler {
	return func(r *turn.RequestAttributes) (id string, key []byte, ok bool) {
		c, ok := clientOf(r.SrcAddr, over)
		who, key, err := s.keys.key(r.Username, r.Realm, r.Method == stun.MethodAllocate, time.Now())
		if !ok || err != nil {
			return "", nil, false
		}
		return userID(who, c), key, true
	}
}

// hasRoom reserves the place of an allocation, right before the library opens it:
// requests that race may all have heard from the guard that there is room. When it
// returns false the client is told 486 (Allocation Quota Reached). A relay that is
// full is another matter, 508, which the client is told when the generator finds no
// place.
func (s *Server) hasRoom(id, _ string, _ net.Addr) bool {
	who, c, err := parseUserID(id)
	if err != nil {
		return false
	}
	err = s.table.reserve(who, c)
	if err == nil || err == errQuotaTotal {
		return true
	}
	s.metrics.refusals[refusalOf(err)].Inc()
	return false
}
