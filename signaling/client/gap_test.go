package client

import (
	"encoding/json"
	"fmt"
	"testing"

	"switchboard/signaling/protocol"
)

// A frame that gets lost on the way costs the connection, and nothing else; one
// that comes twice costs nothing.
func TestLostFrames(t *testing.T) {
	inBubble(t, func(t *testing.T, s *server) {
		c, p := dial(t, s)
		from := number(t, "+14155550102")
		tell := func(seq, n uint64) {
			t.Helper()
			p.tell(0, &protocol.MailboxItem{Seq: seq, N: n, Kind: protocol.KindMessage, ID: fmt.Sprint("m", seq), From: from, To: c.Number(), Body: "x"})
		}
		shown := func(want uint64) {
			t.Helper()
			it := wantEvent[Item](t, c)
			if it.Seq != want {
				t.Fatalf("shown: %d, want %d", it.Seq, want)
			}
			it.Ack()
		}
		again := func(s1 uint64) {
			t.Helper()
			p = s.accept()
			if p.hello.Resume == nil || p.hello.Resume.S != s1 {
				t.Errorf("resumes %+v, want S %d", p.hello.Resume, s1)
			}
			p.welcome(protocol.Welcome{Session: "s1", Resumed: protocol.ResumedFull})
		}
		tell(10, 1)
		tell(10, 1) // twice
		tell(20, 2)
		shown(10)
		shown(20)
		var ack protocol.MailboxAck
		if err := json.Unmarshal(p.next(protocol.TypeMailboxAck).D, &ack); err != nil || ack.Seq != 20 {
			t.Errorf("acknowledged %+v, %v", ack, err)
		}
		tell(40, 4) // the third got lost
		again(0)
		tell(30, 1)
		tell(40, 2)
		shown(30)
		shown(40)
		p.tell(0, &protocol.MailboxDrained{Seq: 50, N: 3}) // and now the last one
		again(0)
		tell(50, 1)
		p.tell(0, &protocol.MailboxDrained{Seq: 50, N: 1})
		shown(50)
		wantEvent[Drained](t, c)

		p.tell(1, incoming("c1"))
		k := wantEvent[Incoming](t, c).Call
		p.tell(3, &protocol.CallEnded{Call: "c1", Reason: protocol.ReasonCanceled}) // the second got lost
		again(1)
		p.tell(2, &protocol.CallCandidates{Call: "c1", Gen: "g", N: 1, End: true})
		p.tell(3, &protocol.CallEnded{Call: "c1", Reason: protocol.ReasonCanceled})
		p.tell(3, &protocol.CallEnded{Call: "c1", Reason: protocol.ReasonCanceled})
		if e, err := k.Next(t.Context()); err != nil || e.(Candidates).N != 1 {
			t.Errorf("first came %+v, %v", e, err)
		}
		if e, err := k.Next(t.Context()); err != nil || e.(Ended).Reason != protocol.ReasonCanceled {
			t.Errorf("then came %+v, %v", e, err)
		}
	})
}
