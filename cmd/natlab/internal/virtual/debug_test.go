package virtual

import (
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"switchboard/cmd/natlab/internal/bubble"
	"switchboard/relay/natlab"
)

func TestDebug(t *testing.T) {
	_, all := accesses()
	a, b := os.Getenv("A"), os.Getenv("B")
	if a == "" {
		t.Skip()
	}
	c := pair(all[a], all[b], "direct")
	var t0 time.Time
	traceHook = func(l *lab) {
		t0 = time.Now()
		l.world.Trace(func(p natlab.Packet) {
			if p.Proto != 17 || !stun.IsMessage(p.Payload) {
				return
			}
			var m stun.Message
			m.Raw = p.Payload
			if m.Decode() != nil {
				return
			}
			if p.What == natlab.Sent || p.What == natlab.Forwarded && os.Getenv("FWD") == "" {
				return
			}
			var use string
			if m.Contains(stun.AttrUseCandidate) {
				use = "USE"
			}
			fmt.Printf("%.3f %-8s %-9s %s->%s %s %x %s %s\n", p.At.Sub(t0).Seconds(), p.Node, p.What, p.Src, p.Dst, m.Type, m.TransactionID[:4], p.Why, use)
		})
	}
	e, _ := New(bubble.In(t))
	call, err := e.Run(c, 1, slog.New(slog.DiscardHandler))
	fmt.Println(call.Path, call.Failures, err)
	fmt.Println(story(call))
}
