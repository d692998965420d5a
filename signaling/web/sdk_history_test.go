package web_test

import (
	"testing"

	"switchboard/signaling/protocol"
)

// past is what a test looks at of a call in the history, and what the page says of it.
type past struct {
	Reason   string
	Mine     bool
	Answered bool
	Seconds  int
	Seen     bool
	Words    string
}

func (st *stage) past(call string) past {
	st.t.Helper()
	st.page.eval(`window.words = await import('/words.js')`)
	return value[past](st.page, `(() => {
		const c = store.calls.find((c) => c.call === '`+call+`')
		return {Reason: c.reason, Mine: c.mine, Answered: c.answered, Seconds: c.duration / 1000, Seen: c.seen, Words: words.pastWords(c)}
	})()`)
}

// A call that this device was not told of while it went on is in its mailbox.
func TestHistoryOfWhatOthersDid(t *testing.T) {
	for _, c := range []struct {
		name   string
		out    bool
		reason protocol.Reason
		ms     int // answered, if any
		want   past
	}{
		{"the caller gave up", false, protocol.ReasonCanceled, 0, past{"canceled", false, false, 0, false, "Missed"}},
		{"nobody answered", false, protocol.ReasonNoAnswer, 0, past{"no_answer", false, false, 0, false, "Missed"}},
		{"no phone was there", false, protocol.ReasonUnreachable, 0, past{"unreachable", false, false, 0, false, "Missed"}},
		{"all phones were busy", false, protocol.ReasonBusy, 0, past{"busy", false, false, 0, false, "Missed while in a call"}},
		{"declined on another phone", false, protocol.ReasonDeclined, 0, past{"declined", false, false, 0, true, "Declined"}},
		{"answered on another phone", false, protocol.ReasonHangup, 42_000, past{"answered_elsewhere", false, true, 42, true, "Answered on another phone, 0:42"}},
		{"they called again", false, protocol.ReasonReplaced, 0, past{"replaced", false, false, 0, true, "They called again"}},
		{"placed, and talked", true, protocol.ReasonHangup, 42_000, past{"hangup", false, true, 42, true, "0:42"}},
		{"placed, and lost", true, protocol.ReasonConnectionLost, 42_000, past{"connection_lost", false, true, 42, true, "0:42, connection lost"}},
		{"placed, and never connected", true, protocol.ReasonICEFailed, 42_000, past{"ice_failed", false, true, 42, true, "No connection could be made"}},
		{"placed, and given up", true, protocol.ReasonCanceled, 0, past{"canceled", false, false, 0, true, "Cancelled"}},
		{"placed, and declined", true, protocol.ReasonDeclined, 0, past{"declined", false, false, 0, true, "They declined"}},
		{"placed, and busy", true, protocol.ReasonBusy, 0, past{"busy", false, false, 0, true, "Busy"}},
		{"placed, and not answered", true, protocol.ReasonNoAnswer, 0, past{"no_answer", false, false, 0, true, "No answer"}},
		{"placed, and nobody there", true, protocol.ReasonUnreachable, 0, past{"unreachable", false, false, 0, true, "Not reachable"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			p.send(protocol.TypeMailboxItem, pastItem(1, "c1", c.out, c.reason, c.ms))
			st.page.wait(`store.calls.length === 1`)
			same(t, "call", c.want, st.past("c1"))
		})
	}
}

func pastItem(seq int, call string, out bool, reason protocol.Reason, ms int) fields {
	h := fields{"call": call, "media": []string{"audio"}, "reason": reason, "answered": ms > 0}
	if ms > 0 {
		h["duration_ms"] = ms
	}
	d := fields{"call": h}
	if out {
		d["from"], d["to"] = me, other
	}
	return item(seq, protocol.KindCall, call, d)
}

// What this device said of a call, and what became of it, are one entry.
func TestHistoryOfWhatHappenedHere(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(st *stage, p *peer)
		item fields
		want past
	}{
		{
			"declined", func(st *stage, _ *peer) { st.page.eval(`call.reject()`) },
			pastItem(1, "c1", false, protocol.ReasonDeclined, 0), past{"declined", true, false, 0, true, "Declined"},
		}, {
			"answered elsewhere", func(_ *stage, p *peer) {
				p.tell(protocol.TypeCallEnded, fields{"call": "c1", "reason": protocol.ReasonAnsweredElsewhere})
			},
			pastItem(1, "c1", false, protocol.ReasonHangup, 42_000), past{"answered_elsewhere", false, true, 42, true, "Answered on another phone, 0:42"},
		}, {
			"missed", func(_ *stage, p *peer) {
				p.tell(protocol.TypeCallEnded, fields{"call": "c1", "reason": protocol.ReasonCanceled})
			},
			pastItem(1, "c1", false, protocol.ReasonCanceled, 0), past{"canceled", false, false, 0, false, "Missed"},
		}, {
			"merged", func(_ *stage, p *peer) {
				p.tell(protocol.TypeCallEnded, fields{"call": "c1", "reason": protocol.ReasonMerged})
			},
			pastItem(2, "c2", false, protocol.ReasonCanceled, 0), past{},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			p.tell(protocol.TypeCallIncoming, incoming("c1", "v=0", nil))
			st.page.wait(`happened('call') === 1`)
			st.page.eval(`window.call = told.find((e) => e.type === 'call').detail`)
			c.do(st, p)
			st.page.wait(`call.state === 'ended'`)
			p.send(protocol.TypeMailboxItem, c.item)
			p.find(protocol.TypeMailboxAck)
			if c.want == (past{}) {
				same(t, "calls", []string{"c2"}, value[[]string](st.page, `store.calls.map((c) => c.call)`))
				return
			}
			same(t, "call", c.want, st.past("c1"))
		})
	}
}

// A call that found this device busy is missed, unless another device took it.
func TestHistoryOfACallThatFoundThisDeviceBusy(t *testing.T) {
	for _, c := range []struct {
		name string
		item fields
		want past
	}{
		{"all were", pastItem(1, "c2", false, protocol.ReasonBusy, 0), past{"busy", true, false, 0, false, "Missed while in a call"}},
		{"another rang", pastItem(1, "c2", false, protocol.ReasonCanceled, 0), past{"canceled", false, false, 0, false, "Missed"}},
		{"another answered", pastItem(1, "c2", false, protocol.ReasonHangup, 42_000), past{"answered_elsewhere", false, true, 42, true, "Answered on another phone, 0:42"}},
		{"another declined", pastItem(1, "c2", false, protocol.ReasonDeclined, 0), past{"declined", false, false, 0, true, "Declined"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := newStage(t)
			p := st.connect(nil)
			st.invited(p, `{}`)
			p.tell(protocol.TypeCallIncoming, incoming("c2", "v=0", fields{"from": "+13105550144"}))
			p.find(protocol.TypeCallBusy)
			c.item["from"] = "+13105550144"
			p.send(protocol.TypeMailboxItem, c.item)
			p.find(protocol.TypeMailboxAck)
			same(t, "call", c.want, st.past("c2"))
		})
	}
}
