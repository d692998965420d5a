package signaling

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/signaling/call"
	"switchboard/signaling/protocol"
)

// Both ends tell how media was, the last of it after the end; operators see it once.
func TestCallsAreMeasured(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		talking(t, a, b, "c1", bob)
		ms := int64(70)
		report := func(p *phone, received, lost int64) {
			p.send(protocol.Frame{}, &protocol.CallReport{
				Call: "c1", Media: protocol.MediaConnected, FirstMediaMS: &ms,
				Path:    &protocol.Path{Local: "relay", Remote: "host", Protocol: "udp", Relay: "udp", Server: "relay.example:3478"},
				Quality: &protocol.Quality{Received: received, Lost: lost, JitterMS: 3, RTTMS: 40},
			})
		}
		report(a, 900, 100)
		report(a, 500, 0) // late: what was said since stands
		ok[protocol.CallReply](a, &protocol.CallHangup{Call: "c1"})
		expect[*protocol.CallEnded](b)
		report(b, 1000, 0)
		if got := series(n.server.metrics.mos); got != 0 {
			t.Errorf("measured before both have had their last word: %d", got)
		}
		time.Sleep(2 * call.RecordAfter)
		report(b, 2000, 0) // too late
		time.Sleep(2 * call.RecordAfter)
		if got := strings.Count(w.logs.String(), `"msg":"call measured"`); got != 1 {
			t.Errorf("measured %d times", got)
		}
		for _, want := range []string{`"path":"relay"`, `"caller_loss":0.1,`, `"callee_loss":0,`, `"caller_mos":3.`, `"callee_mos":4.3`, `"caller_media_after":70000000`} {
			if !strings.Contains(w.logs.String(), want) {
				t.Errorf("the log has no %s:\n%s", want, w.logs)
			}
		}
		if got := series(n.server.metrics.firstMedia); got != 1 {
			t.Errorf("%d kinds of paths have a first media", got)
		}
	})
}

// series counts the label values that a metric has.
func series(c prometheus.Collector) int {
	ch := make(chan prometheus.Metric, 64)
	c.Collect(ch)
	return len(ch)
}
