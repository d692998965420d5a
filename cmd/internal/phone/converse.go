package phone

import (
	"context"
	"errors"
	"time"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// converse carries a call to its end and returns how it went. It closes the phone.
func (p *phone) converse(ctx context.Context, call *client.Call) (Summary, error) {
	hangUp := make(chan struct{})
	tctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	watch := make(chan struct{})
	var path *protocol.Path
	var rtt time.Duration
	go func() { // hangs up when it is time, and notes the path while there is one
		defer close(watch)
		p.watch(ctx, tctx, func() { close(hangUp) }, func() {
			if now := p.path(); now != nil {
				path = now
			}
			if now := p.roundTrip(); now > 0 {
				rtt = now
			}
		})
	}()
	end, err := p.talk(tctx, call, hangUp)
	cancel()
	<-watch
	s := p.summary(end, path, rtt)
	return s, errors.Join(err, p.close())
}

// watch ends when talk does. It calls hangUp at most once.
func (p *phone) watch(user, talk context.Context, hangUp, note func()) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	var up time.Time
	hung := false
	for {
		select {
		case <-talk.Done():
			return
		case <-user.Done():
			if !hung {
				hung = true
				hangUp()
			}
			user = context.Background()
		case <-tick.C:
		}
		p.mu.Lock()
		pc, answered := p.pc, !p.times.answered.IsZero()
		p.mu.Unlock()
		if answered && pc.ConnectionState() == webrtc.PeerConnectionStateConnected {
			note()
			if up.IsZero() {
				up = time.Now()
			}
		}
		tired := p.o.Ring > 0 && !answered && p.role == protocol.Caller && time.Since(began) > p.o.Ring
		enough := p.o.Duration > 0 && !up.IsZero() && time.Since(up) > p.o.Duration
		if (tired || enough) && !hung {
			hung, p.gaveUp = true, tired
			hangUp()
		}
	}
}
