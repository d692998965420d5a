package phone

import (
	"context"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

const (
	// figuresEvery is how often the server is told how media comes.
	figuresEvery = 20 * time.Second
	// figuresWithin is how long the last word of it may take, while the call ends.
	figuresWithin = 2 * time.Second
)

// figures are what has come of the other side's media, for operators.
func (p *phone) figures() protocol.CallReport {
	r := protocol.CallReport{Media: protocol.MediaDisconnected, Path: p.path()}
	if p.peer().ConnectionState() == webrtc.PeerConnectionStateConnected {
		r.Media = protocol.MediaConnected
	}
	rtt := p.roundTrip()
	p.mu.Lock()
	answered := p.times.answered
	p.mu.Unlock()
	l := p.heard
	l.mu.Lock()
	defer l.mu.Unlock()
	jitter := time.Duration(l.jitter / sampleRate * float64(time.Second))
	r.Quality = &protocol.Quality{
		Received: int64(l.packets), Lost: int64(l.lost), JitterMS: jitter.Milliseconds(), RTTMS: rtt.Milliseconds(),
	}
	if !l.first.IsZero() && !answered.IsZero() {
		ms := max(l.first.Sub(answered), 0).Milliseconds()
		r.FirstMediaMS = &ms
	}
	return r
}

// lastFigures tells them as the call ends. If the server cannot be told, it does
// without.
func (p *phone) lastFigures(ctx context.Context) {
	r := p.figures()
	p.mu.Lock()
	answered := !p.times.answered.IsZero()
	p.mu.Unlock()
	if !answered || r.Quality.Received == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), figuresWithin)
	defer cancel()
	_ = p.call.Report(ctx, r)
}
