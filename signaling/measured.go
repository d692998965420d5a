package signaling

import (
	"slices"
	"time"

	"switchboard/signaling/call"
	"switchboard/signaling/cdr"
	"switchboard/signaling/emodel"
	"switchboard/signaling/protocol"
)

// measured counts a call that is over, once both ends have had the time for their
// last word, and tells operators how its media was, as they have reported it.
func (k *calls) measured(r *record) {
	region, path := k.srv.regionLabel(r.Region), string(kindOfPath(r))
	k.srv.metrics.ended.WithLabelValues(region, path, string(r.Reason)).Inc()
	if r.Answered.IsZero() {
		return
	}
	for _, s := range []*call.Side{&r.A, &r.B} {
		if ms := s.FirstMediaMS; ms != nil {
			k.srv.metrics.firstMedia.WithLabelValues(region, path).Observe(float64(*ms) / 1000)
		}
		if q := s.Quality; q != nil && q.Received > 0 {
			k.srv.metrics.loss.WithLabelValues(region, path).Observe(lossOf(q))
			k.srv.metrics.mos.WithLabelValues(region, path).Observe(mosOf(q))
		}
	}
	k.srv.log.Info("call measured", "call", r.ID, "region", r.Region, "path", path, "moves", r.Moves,
		"caller_mos", mosOf(r.A.Quality), "callee_mos", mosOf(r.B.Quality),
		"caller_loss", lossOf(r.A.Quality), "callee_loss", lossOf(r.B.Quality),
		"caller_media_after", mediaAfter(&r.A), "callee_media_after", mediaAfter(&r.B))
}

// regionLabel is a region in the metrics, which know those of the settings: "other"
// is one that only other nodes have, "" none.
func (s *Server) regionLabel(region string) string {
	if region == "" || s.Regions != nil && slices.Contains(s.Regions.Names(), region) {
		return region
	}
	return "other"
}

// kindOfPath says whether a relay carried the call.
func kindOfPath(r *record) cdr.PathKind {
	kind := cdr.NoPath
	for _, p := range []*protocol.Path{r.A.Path, r.B.Path} {
		switch {
		case p == nil:
		case p.Local == "relay" || p.Remote == "relay":
			return cdr.Relayed
		default:
			kind = cdr.Direct
		}
	}
	return kind
}

// lossOf is the share of packets that got lost; 0 if nothing was reported.
func lossOf(q *protocol.Quality) float64 {
	if q == nil || q.Received+q.Lost == 0 {
		return 0
	}
	return float64(q.Lost) / float64(q.Received+q.Lost)
}

// mosOf is an estimate of how it sounded, 1 to 4.4; 0 if nothing was reported.
func mosOf(q *protocol.Quality) float64 {
	if q == nil {
		return 0
	}
	m := emodel.Measured{
		Loss: lossOf(q), RoundTrip: time.Duration(q.RTTMS) * time.Millisecond, Jitter: time.Duration(q.JitterMS) * time.Millisecond,
	}
	return float64(int(100*m.MOS())) / 100
}

func mediaAfter(s *call.Side) time.Duration {
	if s.FirstMediaMS == nil {
		return 0
	}
	return time.Duration(*s.FirstMediaMS) * time.Millisecond
}
