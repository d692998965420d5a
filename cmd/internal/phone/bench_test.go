package phone

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/transport/v5/vnet"
	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

// away is how long a packet takes from one phone to the other, and a word by way of
// the server.
const away = 20 * time.Millisecond

// BenchmarkAnswerToMedia has two phones on a virtual network, 20 ms apart, and
// reports how long after the answer, as each side sees it, it hears the other: with
// media set up while it rings, and without. No sound comes sooner than 20 ms after
// it was sent, and it is sent every 20 ms. The wire between phones and server is a
// pause of 20 ms.
func BenchmarkAnswerToMedia(b *testing.B) {
	for name, prepared := range map[string]bool{"prepared": true, "not-prepared": false} {
		b.Run(name, func(b *testing.B) {
			var caller, callee []time.Duration
			for b.Loop() {
				x, y := answerToMedia(b, prepared)
				caller, callee = append(caller, x), append(callee, y)
			}
			for side, all := range map[string][]time.Duration{"caller": caller, "callee": callee} {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2])/1e6, "ms-p50-"+side)
				b.ReportMetric(float64(all[len(all)-1])/1e6, "ms-max-"+side)
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// answerToMedia places one call.
func answerToMedia(b *testing.B, prepared bool) (caller, callee time.Duration) {
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	router, err := vnet.NewRouter(&vnet.RouterConfig{CIDR: "192.0.2.0/24", MinDelay: away, LoggerFactory: quiet})
	if err != nil {
		b.Fatal(err)
	}
	var phones [2]*phone
	for i, address := range []string{"192.0.2.1", "192.0.2.2"} {
		n, err := vnet.NewNet(&vnet.NetConfig{StaticIPs: []string{address}})
		if err == nil {
			err = router.AddNet(n)
		}
		if err == nil {
			phones[i], err = newPhone(protocol.ICE{}, []protocol.Role{protocol.Caller, protocol.Callee}[i], Options{Net: n})
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := router.Start(); err != nil {
		b.Fatal(err)
	}
	defer router.Stop()
	x, y := phones[0], phones[1]
	defer x.close()
	defer y.close()
	offer, err := x.offer()
	if err != nil {
		b.Fatal(err)
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	done := make(chan struct{})
	defer close(done)
	trickle := func(from, to *phone, ready <-chan struct{}) {
		tasks.Go(func() {
			for {
				select {
				case c := <-from.found:
					if c == nil {
						return
					}
					time.Sleep(away)
					select {
					case <-ready:
					case <-done:
						return
					}
					if err := to.pc.AddICECandidate(c.ToJSON()); err != nil {
						b.Error(err)
					}
				case <-done:
					return
				}
			}
		})
	}
	answering, answered := make(chan struct{}), make(chan struct{})
	trickle(x, y, answering)
	trickle(y, x, answered)
	var words sync.WaitGroup
	connect := func(then func()) { // the callee's answer, and the caller's taking it
		sdp, err := y.answer(offer)
		if err != nil {
			b.Fatal(err)
		}
		close(answering)
		words.Go(func() {
			time.Sleep(away)
			if err := x.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
				b.Error(err)
			}
			close(answered)
			then()
		})
	}
	if prepared {
		connect(func() {})
		words.Wait()
		for _, p := range []*phone{x, y} {
			for s := range p.changes { // until both are connected
				if s == webrtc.PeerConnectionStateConnected {
					break
				}
			}
		}
	}
	start := time.Now()
	var heard time.Time // of the answer, by the caller
	hear := func() { heard = time.Now(); x.player.start() }
	y.player.start()
	if prepared {
		time.Sleep(away)
		hear()
	} else {
		connect(hear)
		words.Wait()
	}
	return first(b, x).Sub(heard), first(b, y).Sub(start)
}

// first is when a phone heard something for the first time.
func first(b *testing.B, p *phone) time.Time {
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		p.heard.mu.Lock()
		at := p.heard.first
		p.heard.mu.Unlock()
		if !at.IsZero() {
			return at
		}
	}
	b.Fatal("nothing was heard")
	return time.Time{}
}
