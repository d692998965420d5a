package call

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

// FuzzNext plays any sequence of events and holds what package call promises.
func FuzzNext(f *testing.F) {
	f.Add([]byte{2, 1, 1, 4, 25, 26, 13})
	f.Add([]byte{0, 30, 31})
	f.Add([]byte{3, 4, 6, 28, 29, 32, 32, 33, 13, 13})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		w := newWatch(t)
		all := []uint32{one, two, 13}
		hide := []Hide{HideNothing, HideRinging, HideAlways}
		c, acts := New(Invite{
			ID: "c", Caller: Party{"alice", caller}, Callee: "bob", Devices: all[:data[0]%4], Media: []protocol.Media{protocol.Audio}, SDP: offer,
			HideCaller: hide[data[0]/4%3], HideCallee: hide[data[0]/12%3],
		}, start)
		w.saw(c, acts)
		for i, b := range data[1:] {
			h := happenings[int(b)%len(happenings)]
			before := mustJSON(t, c)
			n, acts, err := c.Next(h.event, start.Add(time.Duration(i)*40*time.Second))
			if got := mustJSON(t, c); got != before {
				t.Fatalf("%s changed its receiver", h.name)
			}
			if err != nil {
				if got := mustJSON(t, n); got != before || len(acts) != 0 {
					t.Fatalf("%s was refused and changed the call: %v", h.name, err)
				}
				var se *StateError
				if !errors.As(err, &se) && !errors.Is(err, ErrStranger) && !errors.Is(err, ErrTooMany) {
					t.Fatalf("%s: %v is no error that callers know", h.name, err)
				}
				continue
			}
			if c.State == protocol.Ended && (n.State != protocol.Ended || !w.mayFollow(acts)) {
				t.Fatalf("%s after the end: %s, %v", h.name, n.State, acts)
			}
			w.saw(n, acts)
			c = n
		}
	})
}

// watch counts what devices were told and which timers run.
type watch struct {
	t         *testing.T
	told      map[uint32]bool // devices of the callee that were rung
	ended     map[string]int
	timers    map[Timer]bool
	winner    uint32
	concluded bool
	recorded  bool
}

// mayFollow reports whether a call that has ended may have these actions: it is
// recorded once.
func (w *watch) mayFollow(acts []Action) bool {
	return len(acts) == 0 || len(acts) == 1 && acts[0] == Record{} && !w.recorded
}

func newWatch(t *testing.T) *watch {
	return &watch{t: t, told: map[uint32]bool{}, ended: map[string]int{}, timers: map[Timer]bool{}}
}

func (w *watch) saw(c Call, acts []Action) {
	w.t.Helper()
	for i, a := range acts {
		if w.concluded && a != (Record{}) {
			w.t.Fatalf("%T after the call was concluded", a)
		}
		switch a := a.(type) {
		case Ring:
			if w.told[a.Device] {
				w.t.Fatalf("device %d is rung twice", a.Device)
			}
			w.told[a.Device] = true
		case TellEnded:
			key := "caller"
			if a.To == protocol.Callee {
				key = string(rune('0' + a.Device))
				if !w.told[a.Device] {
					w.t.Fatalf("device %d is told the end of what it never heard of", a.Device)
				}
			}
			if w.ended[key]++; w.ended[key] > 1 {
				w.t.Fatalf("%s is told the end twice", key)
			}
		case StartTimer:
			w.timers[a.Timer] = true
		case StopTimer:
			delete(w.timers, a.Timer)
		case Record:
			w.recorded = true
			delete(w.timers, TimerRecord)
		case Conclude:
			if w.concluded = true; i != len(acts)-1 {
				w.t.Fatal("conclude is not the last action")
			}
		}
	}
	w.record(c)
}

func (w *watch) record(c Call) {
	w.t.Helper()
	if c.Callee.Device != 0 {
		if w.winner != 0 && w.winner != c.Callee.Device {
			w.t.Fatalf("devices %d and %d have both won", w.winner, c.Callee.Device)
		}
		w.winner = c.Callee.Device
	}
	if w.concluded != (c.State == protocol.Ended) {
		w.t.Fatalf("concluded %v in state %s", w.concluded, c.State)
	}
	if w.concluded {
		if len(w.timers) > 1 || len(w.timers) == 1 && !w.timers[TimerRecord] {
			w.t.Fatalf("timers left: %v", w.timers)
		}
		if len(w.ended) != len(w.told)+1 {
			w.t.Fatalf("%d devices were told of the call and %d sides of its end", len(w.told), len(w.ended))
		}
		if c.Reason == "" || c.Ended.IsZero() {
			w.t.Fatalf("ended without a reason or a time: %+v", c)
		}
	}
	if len(c.Due) != len(w.timers) {
		w.t.Fatalf("the record has timers %v, of which %v were started", c.Due, w.timers)
	}
	for _, d := range c.Due {
		if !w.timers[d.Timer] {
			w.t.Fatalf("timer %s was never started", d.Timer)
		}
	}
	for _, s := range []Side{c.A, c.B} {
		n := len(s.Held)
		for i, b := range s.Candidates {
			if b.N != i+1 {
				w.t.Fatalf("message %d of candidates is numbered %d", i+1, b.N)
			}
			n += len(b.Candidates)
		}
		if c.hides(&s) && strings.Contains(s.SDP+fmt.Sprint(s.Candidates), "192.0.2.") {
			w.t.Fatal("an address is shown that is to be hidden")
		}
		if n != s.Count || n > protocol.MaxCandidates {
			w.t.Fatalf("%d candidates, counted %d", n, s.Count)
		}
	}
	var again Call
	if err := json.Unmarshal([]byte(mustJSON(w.t, c)), &again); err != nil || mustJSON(w.t, again) != mustJSON(w.t, c) {
		w.t.Fatalf("the record does not survive being stored: %v", err)
	}
	if len(c.Legs) > 0 && !reflect.DeepEqual(again.Legs, c.Legs) {
		w.t.Fatal("legs do not survive being stored")
	}
}

func mustJSON(t *testing.T, c Call) string {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
