package signaling

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/signaling/call"
	"switchboard/signaling/callstore"
	"switchboard/signaling/cdr"
	"switchboard/signaling/protocol"
)

// Each call that is over is written down for operators, whether it was answered or
// not, at least once: before the timer that says it is time is taken from the call's
// record. So if the write fails, or the node dies, the timer is still there, and this
// node or the one that adopts the call writes again. Whoever keeps what is written
// drops repeats.

// CallRecorder keeps the records of calls that are over, for operators. A [cdr.Store]
// is one.
type CallRecorder interface {
	// Write returns nil once the record is kept, or if one of the same call is.
	Write(ctx context.Context, r cdr.Record) error
}

const (
	// writesAtOnce bounds the writes that are under way, each of which waits for its
	// answer: while the stream is away there may be many calls to be written.
	writesAtOnce = 64
	// writeAgain is the least wait after a write that failed, writeAgainMost the
	// longest.
	writeAgain     = time.Second
	writeAgainMost = 30 * time.Second
)

// writeDown writes down a call that is over, and reports whether its timer may be
// taken from its record. If not, it is either not to be, or the timer runs out here
// once more after a while.
func (k *calls) writeDown(id string) bool {
	if k.srv.Recorder == nil {
		return true
	}
	if !k.writing.begin(id) {
		return false
	}
	defer k.writing.end(id)
	select {
	case k.writing.slots <- struct{}{}:
		defer func() { <-k.writing.slots }()
	default:
		k.writing.failed(id, errWrites)
		k.timers.again(id, call.TimerRecord, writeAgain)
		return false
	}
	ctx, cancel := k.srv.request()
	defer cancel()
	r, _, _, err := k.load(ctx, id)
	switch {
	case errors.Is(err, callstore.ErrNotFound):
		k.writing.gone(id)
		return false
	case err != nil:
		k.writing.failed(id, err)
		k.timers.again(id, call.TimerRecord, writeAgain)
		return false
	case r.State != protocol.Ended || len(r.Due) == 0 || r.Keeper != k.srv.Nodes.Incarnation():
		k.writing.forget(id) // it has been written, or another node keeps it by now
		return false
	}
	if err := k.srv.Recorder.Write(ctx, callRecord(&r)); err != nil {
		k.writing.failed(id, err)
		k.timers.again(id, call.TimerRecord, waitToWrite(time.Since(r.Ended)))
		return false
	}
	k.writing.done(id)
	return true
}

var errWrites = errors.New("too many are being written")

// waitToWrite is how long to wait after a write that failed, of a call that ended a
// while ago: longer each time.
func waitToWrite(ended time.Duration) time.Duration {
	return min(max((ended-call.RecordAfter)/2, writeAgain), writeAgainMost)
}

// writing are the calls that are to be written down and have not been at the first
// try. A call is in it at most as long as its record lives without being written.
type writing struct {
	// Static after init.
	log   *slog.Logger
	lost  prometheus.Counter
	slots chan struct{}

	mu       sync.Mutex
	underWay map[string]struct{}
	unsaved  map[string]struct{} // have failed
	troubled bool                // the log says that writes fail
	losses   int                 // since it does
}

func (w *writing) init(s *Server) {
	w.log, w.lost, w.slots = s.log, s.metrics.lost, make(chan struct{}, writesAtOnce)
	w.underWay, w.unsaved = map[string]struct{}{}, map[string]struct{}{}
}

// begin reports whether a call may be written now: not while it is being written.
func (w *writing) begin(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, busy := w.underWay[id]; busy {
		return false
	}
	w.underWay[id] = struct{}{}
	return true
}

func (w *writing) end(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.underWay, id)
}

// failed notes that a call could not be written. The log says so once, until one can.
func (w *writing) failed(id string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unsaved[id] = struct{}{}
	if !w.troubled {
		w.troubled = true
		w.log.Warn("calls that are over cannot be written down for operators; each is tried again while it is remembered", "for", unwrittenFor, "error", err)
	}
}

// done notes that a call has been written.
func (w *writing) done(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unsaved, id)
	if w.troubled {
		w.log.Info("calls that are over are written down again", "lost", w.losses)
		w.troubled, w.losses = false, 0
	}
}

// forget notes that a call is not this node's to write.
func (w *writing) forget(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.unsaved, id)
}

// gone notes that nothing is remembered any more of a call. If it could not be
// written, it is lost: that is counted, and the log says so once.
func (w *writing) gone(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, failed := w.unsaved[id]; !failed {
		return
	}
	delete(w.unsaved, id)
	w.lost.Inc()
	if w.losses++; w.losses == 1 {
		w.log.Error("a call is lost to operators: it could not be written down for as long as it was remembered; others that follow are counted", "call", id)
	}
}

// callRecord is what operators may know of a call.
func callRecord(r *record) cdr.Record {
	return cdr.Record{
		V: cdr.Version, Call: r.ID, Region: r.Region, Caller: recordedSide(r.Caller, &r.A), Callee: recordedSide(r.Callee, &r.B),
		KeptFrom: string(r.Shield), Media: r.Media,
		Created: r.Created, RingingMS: msUntil(r, r.Rung), AnsweredMS: msUntil(r, r.Answered), ConnectedMS: msUntil(r, r.Connected),
		Ended: r.Ended, TalkedMS: r.Duration().Milliseconds(),
		Reason: r.Reason, EndedBy: r.EndedBy, Path: kindOfPath(r), RelayRestart: r.Restarted, Moves: r.Moves,
	}
}

func recordedSide(p call.Party, s *call.Side) cdr.Side {
	side := cdr.Side{Account: p.Account, Device: p.Device, Path: s.Path, FirstMediaMS: s.FirstMediaMS}
	if q := s.Quality; q != nil {
		side.Quality = &cdr.Quality{Received: q.Received, Loss: lossOf(q), JitterMS: q.JitterMS, RTTMS: q.RTTMS}
		if q.Received > 0 {
			side.Quality.MOS = mosOf(q)
		}
	}
	return side
}

// msUntil is how long after its beginning something happened in a call, in
// milliseconds; nil if it did not.
func msUntil(r *record, t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	return new(t.Sub(r.Created).Milliseconds())
}
