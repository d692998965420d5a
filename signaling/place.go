package signaling

import (
	"net/http"
	"net/netip"

	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// place is what welcome says about where a device is best served.
type place struct {
	region  string
	reason  region.Reason
	trips   map[string]int // by which it was decided, or might have been
	regions []protocol.Region
	better  *protocol.Better
}

// placeOf says it of a session on a new connection. Who is away will not stay:
// it is sent nowhere.
func (s *Server) placeOf(ss *session, c *conn, h *protocol.Hello) place {
	if s.Regions == nil {
		return place{}
	}
	from, _ := netip.ParseAddr(c.remote)
	choice := s.Regions.Choose(from, ss.number, h.RoundTrips)
	at := place{region: choice.Region, reason: choice.Reason, trips: h.RoundTrips, regions: s.Regions.Probes()}
	if !h.Away {
		at.better = s.Regions.Better(choice.Region)
	}
	s.log.Debug("region chosen", "session", ss.id, "region", choice.Region, "reason", choice.Reason, "elsewhere", at.better != nil)
	return at
}

// leave returns where sessions are best served when this node stops. The
// function is for one goroutine.
func (s *Server) leave() func(ss *session) *protocol.Better {
	if s.Regions == nil {
		return func(*session) *protocol.Better { return nil }
	}
	to := s.Regions.Leave()
	return func(ss *session) *protocol.Better { return to(ss.inRegion()) }
}

// settle notes where the device is best served. It must hold mu.
func (ss *session) settle(at place) { ss.region, ss.reason, ss.trips = at.region, at.reason, at.trips }

// inRegion is where the session's device is best served, "" if not known.
func (ss *session) inRegion() string {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.region
}

// regionAndReason is inRegion, and why.
func (ss *session) regionAndReason() (string, region.Reason) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return ss.region, ss.reason
}

// Ping answers at [protocol.PathPing], so that clients, pages of any site
// included, can measure round trips.
func Ping(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Timing-Allow-Origin", "*")
	w.WriteHeader(http.StatusNoContent)
}
