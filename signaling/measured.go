package signaling

import (
	"time"

	"switchboard/signaling/call"
	"switchboard/signaling/emodel"
	"switchboard/signaling/protocol"
)

// measured tells operators how the media of a call was, as both ends have reported
// it, once they have had the time for their last word.
func (k *calls) measured(r *record) {
	if r.Answered.IsZero() {
		return
	}
	path := kindOfPath(r)
	for _, s := range []*call.Side{&r.A, &r.B} {
		if ms := s.FirstMediaMS; ms != nil {
			k.srv.metrics.firstMedia.WithLabelValues(path).Observe(float64(*ms) / 1000)
		}
		if q := s.Quality; q != nil && q.Received > 0 {
			k.srv.metrics.loss.WithLabelValues(path).Observe(lossOf(q))
			k.srv.metrics.mos.WithLabelValues(path).Observe(mosOf(q))
		}
	}
	k.srv.log.Info("call measured", "call", r.ID, "path", path, "moves", r.Moves,
		"caller_mos", mosOf(r.A.Quality), "callee_mos", mosOf(r.B.Quality),
		"caller_loss", lossOf(r.A.Quality), "callee_loss", lossOf(r.B.Quality),
		"caller_media_after", mediaAfter(&r.A), "callee_media_after", mediaAfter(&r.B))
}

// kindOfPath says whether a relay carried the call: "relay", "direct", or "none"
// if nothing was reported.
func kindOfPath(r *record) string {
	kind := "none"
	for _, p := range []*protocol.Path{r.A.Path, r.B.Path} {
		switch {
		case p == nil:
		case p.Local == "relay" || p.Remote == "relay":
			return "relay"
		default:
			kind = "direct"
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
