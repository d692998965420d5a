package call

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"switchboard/signaling/protocol"
)

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	caller   = 1  // the caller's device
	one      = 11 // devices of the callee
	two      = 12
	stranger = 99

	offer  = "v=0\na=ice-ufrag:AAAA\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 192.0.2.7\na=candidate:2 1 udp 2122260223 192.0.2.7 4000 typ host"
	answer = "v=0\na=ice-ufrag:BBBB\nm=audio 4000 UDP/TLS/RTP/SAVPF 0\nc=IN IP4 192.0.2.8"

	relayAt = "relay.example:3478"
)

// situations are states with what matters beside them: the rows of the table.
// Each is reached by events, as in life.
var situations = []struct {
	name   string
	state  protocol.State
	events []Event
}{
	{"trying, nobody there", protocol.Trying, nil},
	{"trying", protocol.Trying, []Event{Join{one}, Join{two}}},
	{"ringing", protocol.Ringing, []Event{Join{one}, Join{two}, RingingOn{Device: one}}},
	{"ringing, one busy", protocol.Ringing, []Event{Join{one}, Join{two}, RingingOn{Device: one}, Busy{two}}},
	{"connecting", protocol.Connecting, []Event{Join{one}, Join{two}, Answer{one, answer}}},
	{"connecting by relays", protocol.Connecting, []Event{Join{one}, Join{two}, Answer{one, answer}, Timeout{TimerConnect}}},
	{"active", protocol.Active, []Event{Join{one}, Join{two}, Answer{one, answer}, up(protocol.Caller, caller), up(protocol.Callee, one)}},
	{"reconnecting", protocol.Reconnecting, []Event{Join{one}, Join{two}, Answer{one, answer}, up(protocol.Caller, caller), up(protocol.Callee, one), down(protocol.Caller, caller)}},
	{"ringing, one prepared", protocol.Ringing, []Event{Join{one}, Join{two}, RingingOn{Device: one}, Prepare{one, answer}}},
	{"active by a relay", protocol.Active, []Event{Join{one}, Join{two}, Answer{one, answer}, up(protocol.Caller, caller), relayedUp(protocol.Callee, one)}},
	{"ended by hang-up", protocol.Ended, []Event{Join{one}, Join{two}, Answer{one, answer}, Hangup{protocol.Caller, caller, ""}}},
	{"ended by decline", protocol.Ended, []Event{Join{one}, Join{two}, Reject{one}}},
	{"ended and recorded", protocol.Ended, []Event{Join{one}, Join{two}, Reject{one}, Timeout{TimerRecord}}},
}

func up(by protocol.Role, d uint32) Event {
	return report(by, d, protocol.MediaConnected, &protocol.Path{Local: "host", Remote: "host", Protocol: "udp"})
}
func relayedUp(by protocol.Role, d uint32) Event {
	return report(by, d, protocol.MediaConnected, &protocol.Path{Local: "relay", Remote: "host", Protocol: "udp", Relay: "udp", Server: relayAt})
}
func down(by protocol.Role, d uint32) Event {
	return report(by, d, protocol.MediaDisconnected, nil)
}
func report(by protocol.Role, d uint32, m protocol.MediaState, p *protocol.Path) Event {
	return Report{By: by, Device: d, CallReport: protocol.CallReport{Call: "c", Media: m, Path: p}}
}

func candidates(by protocol.Role, d uint32, gen string, n int) Event {
	return Candidates{By: by, Device: d, CallCandidates: protocol.CallCandidates{Call: "c", Gen: gen, N: n, Candidates: []protocol.Candidate{{Candidate: "candidate:2 1 udp 2122260223 192.0.2.7 4000 typ host"}}}}
}

func describe(by protocol.Role, d uint32, n int) Event {
	return Describe{By: by, Device: d, CallDescribe: protocol.CallDescribe{Call: "c", N: n, Kind: "offer", SDP: "v=0\na=ice-ufrag:CCCC", Restart: true}}
}

// happenings are the columns: each kind of event, from each who could cause it.
var happenings = []struct {
	name  string
	event Event
}{
	{"a device joins", Join{13}},
	{"one rings", RingingOn{Device: one}},
	{"two rings", RingingOn{Device: two}},
	{"stranger rings", RingingOn{Device: stranger}},
	{"two rings beside another call", RingingOn{two, true}},
	{"one prepares", Prepare{one, answer}},
	{"two prepares", Prepare{two, answer}},
	{"stranger prepares", Prepare{stranger, answer}},
	{"one answers", Answer{one, answer}},
	{"one answers otherwise", Answer{one, "v=0 other"}},
	{"two answers", Answer{two, answer}},
	{"stranger answers", Answer{stranger, answer}},
	{"one rejects", Reject{one}},
	{"two rejects", Reject{two}},
	{"one is busy", Busy{one}},
	{"two is busy", Busy{two}},
	{"caller cancels", Cancel{}},
	{"caller hangs up", Hangup{protocol.Caller, caller, ""}},
	{"one hangs up", Hangup{protocol.Callee, one, protocol.ReasonMediaFailed}},
	{"two hangs up", Hangup{protocol.Callee, two, ""}},
	{"stranger hangs up", Hangup{protocol.Caller, stranger, ""}},
	{"caller calls anew", Supersede{}},
	{"caller's candidates", candidates(protocol.Caller, caller, "AAAA", 1)},
	{"caller's candidates of another generation", candidates(protocol.Caller, caller, "ZZZZ", 1)},
	{"one's candidates", candidates(protocol.Callee, one, "BBBB", 1)},
	{"two's candidates", candidates(protocol.Callee, two, "BBBB", 1)},
	{"caller describes", describe(protocol.Caller, caller, 1)},
	{"one describes", describe(protocol.Callee, one, 1)},
	{"two describes", describe(protocol.Callee, two, 1)},
	{"caller is up", up(protocol.Caller, caller)},
	{"one is up", up(protocol.Callee, one)},
	{"caller loses media", down(protocol.Caller, caller)},
	{"one loses media", down(protocol.Callee, one)},
	{"one fails", report(protocol.Callee, one, protocol.MediaFailed, nil)},
	{"one tells figures", figures(protocol.Callee, one)},
	{"the relay is lost", RelayLost{relayAt}},
	{"another relay is lost", RelayLost{"other.example:3478"}},
	{"reach times out", Timeout{TimerReach}},
	{"ring times out", Timeout{TimerRing}},
	{"connect times out", Timeout{TimerConnect}},
	{"reconnect times out", Timeout{TimerReconnect}},
	{"record times out", Timeout{TimerRecord}},
}

func figures(by protocol.Role, d uint32) Event {
	ms := int64(70)
	return Report{By: by, Device: d, CallReport: protocol.CallReport{
		Call: "c", Media: protocol.MediaConnected, Quality: &protocol.Quality{Received: 1000, Lost: 3, JitterMS: 2, RTTMS: 40}, FirstMediaMS: &ms,
	}}
}

// begin plays events a second after the invite. Timers run out when they are due.
func begin(t testing.TB, events ...Event) Call {
	t.Helper()
	c, _ := New(Invite{ID: "c", Caller: Party{"alice", caller}, Callee: "bob", Media: []protocol.Media{protocol.Audio}, SDP: offer}, start)
	for _, e := range events {
		now := start.Add(time.Second)
		if timeout, ok := e.(Timeout); ok {
			now = dueAt(t, c, timeout.Timer)
		}
		var err error
		if c, _, err = c.Next(e, now); err != nil {
			t.Fatalf("%T%v: %v", e, e, err)
		}
	}
	return c
}

func dueAt(t testing.TB, c Call, name Timer) time.Time {
	t.Helper()
	at := due(c, name)
	if at.IsZero() {
		t.Fatalf("timer %s does not run in state %s", name, c.State)
	}
	return at
}

// TestTable holds what becomes of every situation by everything that can
// happen. testdata/table.txt is the table; -update writes it anew, and then it
// must be read.
func TestTable(t *testing.T) {
	var b strings.Builder
	seenStates, seenEvents := map[protocol.State]bool{}, map[string]bool{}
	for _, s := range situations {
		c := begin(t, s.events...)
		if c.State != s.state {
			t.Fatalf("%s is %s, want %s", s.name, c.State, s.state)
		}
		seenStates[c.State] = true
		fmt.Fprintf(&b, "# %s\n", s.name)
		for _, h := range happenings {
			seenEvents[reflect.TypeOf(h.event).Name()] = true
			before := fmt.Sprintf("%+v", c)
			n, acts, err := c.Next(h.event, start.Add(time.Hour))
			if after := fmt.Sprintf("%+v", c); after != before {
				t.Errorf("%s, %s: Next changed its receiver", s.name, h.name)
			}
			if err != nil && (!reflect.DeepEqual(n, c) || acts != nil) {
				t.Errorf("%s, %s: an error changed the call", s.name, h.name)
			}
			fmt.Fprintf(&b, "%-42s %s\n", h.name, outcome(c, n, acts, err))
		}
		b.WriteString("\n")
	}
	for _, st := range []protocol.State{protocol.Trying, protocol.Ringing, protocol.Connecting, protocol.Active, protocol.Reconnecting, protocol.Ended} {
		if !seenStates[st] {
			t.Errorf("state %s has no row", st)
		}
	}
	for _, e := range Events {
		if name := reflect.TypeOf(e).Name(); !seenEvents[name] {
			t.Errorf("event %s has no column", name)
		}
	}
	golden(t, "testdata/table.txt", b.String())
}

func outcome(before, after Call, acts []Action, err error) string {
	var se *StateError
	switch {
	case errors.As(err, &se):
		return "refused: " + se.Error()
	case err != nil:
		return "refused: " + err.Error()
	case reflect.DeepEqual(before, after) && len(acts) == 0:
		return "nothing"
	}
	words := []string{}
	if before.State != after.State {
		words = append(words, "→ "+string(after.State))
	}
	for _, a := range acts {
		words = append(words, actionWord(a))
	}
	if len(words) == 0 {
		return "noted"
	}
	return strings.Join(words, "; ")
}

func actionWord(a Action) string {
	device := func(to protocol.Role, d uint32) string {
		if to == protocol.Caller {
			return "caller"
		}
		return fmt.Sprint("device ", d)
	}
	switch a := a.(type) {
	case Ring:
		return fmt.Sprintf("ring device %d", a.Device)
	case TellRinging:
		if a.Waiting {
			return "tell caller it rings beside another call"
		}
		return "tell caller it rings"
	case TellPrepared:
		return "tell caller the pre-answer"
	case TellAnswered:
		return "tell caller the answer"
	case TellCandidates:
		return fmt.Sprintf("candidates to %s", device(a.To, a.Device))
	case TellDescription:
		return fmt.Sprintf("description to %s", a.To)
	case TellState:
		w := fmt.Sprintf("tell %s %s", a.To, a.State.State)
		if a.State.Restart {
			w += " and to restart"
		}
		if a.State.RelayOnly {
			w += " by relays alone"
		}
		if a.Servers {
			w += " with servers"
		}
		return w
	case TellEnded:
		w := fmt.Sprintf("tell %s %s", device(a.To, a.Device), a.Reason)
		if a.Mine {
			w += " (own)"
		}
		return w
	case StartTimer:
		return fmt.Sprintf("start %s %v", a.Timer, a.For)
	case StopTimer:
		return fmt.Sprintf("stop %s", a.Timer)
	case Conclude:
		return "conclude"
	case Record:
		return "record"
	}
	return fmt.Sprintf("%T", a)
}

// What each device is told at the end must not depend on the order of a map or
// on chance.
func TestReasonFor(t *testing.T) {
	declined := begin(t, Join{one}, Join{two}, Reject{two})
	answered := begin(t, Join{one}, Join{two}, Answer{two, answer}, Hangup{protocol.Callee, two, ""})
	got := map[string]protocol.Reason{
		"declined one": declined.ReasonFor(one), "declined two": declined.ReasonFor(two),
		"answered one": answered.ReasonFor(one), "answered two": answered.ReasonFor(two),
	}
	want := map[string]protocol.Reason{
		"declined one": protocol.ReasonDeclinedElsewhere, "declined two": protocol.ReasonDeclined,
		"answered one": protocol.ReasonAnsweredElsewhere, "answered two": protocol.ReasonHangup,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestDuplicatesAndCaps(t *testing.T) {
	c := begin(t, Join{one}, candidates(protocol.Caller, caller, "AAAA", 1))
	again, acts, err := c.Next(candidates(protocol.Caller, caller, "AAAA", 1), start)
	if err != nil || len(acts) != 0 || !reflect.DeepEqual(again, c) {
		t.Errorf("repeated candidates: %v, %v", acts, err)
	}
	for n := 2; n <= protocol.MaxCandidates; n++ {
		if c, _, err = c.Next(candidates(protocol.Caller, caller, "AAAA", n), start); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := c.Next(candidates(protocol.Caller, caller, "AAAA", 1000), start); !errors.Is(err, ErrTooMany) {
		t.Errorf("one candidate too many: %v", err)
	}
	many := make([]uint32, MaxLegs+5)
	for i := range many {
		many[i] = uint32(i + 1)
	}
	c, acts = New(Invite{ID: "c", Devices: append(many, many...)}, start)
	rings := slices.DeleteFunc(slices.Clone(acts), func(a Action) bool { _, ok := a.(Ring); return !ok })
	if len(c.Legs) != MaxLegs || len(rings) != MaxLegs {
		t.Errorf("%d legs, %d rings, want %d of each", len(c.Legs), len(rings), MaxLegs)
	}
	if _, acts, err := c.Next(Join{1000}, start); err != nil || len(acts) != 0 {
		t.Errorf("one device too many: %v, %v", acts, err)
	}
	// A new generation begins anew.
	c = begin(t, Join{one}, Answer{one, answer}, candidates(protocol.Caller, caller, "AAAA", 1), describe(protocol.Caller, caller, 1))
	c, acts, err = c.Next(candidates(protocol.Caller, caller, "CCCC", 1), start)
	if err != nil || len(acts) != 1 || c.A.Count != 1 || c.A.Gen != "CCCC" {
		t.Errorf("candidates after a restart: %+v, %v, %v", c.A, acts, err)
	}
	if _, acts, _ := c.Next(candidates(protocol.Caller, caller, "AAAA", 2), start); len(acts) != 0 {
		t.Errorf("candidates of the old generation: %v", acts)
	}
}
