package signaling

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"switchboard/signaling/protocol"
)

// fleet are relays of which the test says how they do.
type fleet struct {
	testRelays
	mu     sync.Mutex
	states map[string]RelayState
}

func (f *fleet) State(server string, _ time.Time) RelayState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[server]
}

func (f *fleet) set(server string, s RelayState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.states == nil {
		f.states = map[string]RelayState{}
	}
	f.states[server] = s
}

// relayed connects a call whose sides are on the relays given, "" for none.
func relayed(t *testing.T, a, b *phone, id, caller, callee string) {
	t.Helper()
	ringing(t, a, b, id, bob)
	ok[protocol.CallReply](b, &protocol.CallAnswer{Call: id, SDP: answerSDP})
	report := func(p *phone, server string) {
		r := &protocol.CallReport{Call: id, Media: protocol.MediaConnected, Path: &protocol.Path{Local: "host", Remote: "host", Protocol: "udp"}}
		if server != "" {
			r.Path = &protocol.Path{Local: "relay", Remote: "host", Protocol: "udp", Relay: "udp", Server: server}
		}
		p.send(protocol.Frame{}, r)
	}
	report(a, caller)
	report(b, callee)
	for _, p := range []*phone{a, b} {
		if s := expect[*protocol.CallState](p); s.State != protocol.Active {
			t.Fatalf("the call is %s", s.State)
		}
	}
}

// moved expects that both sides are given servers and the caller is asked to restart.
func moved(t *testing.T, a, b *phone, state protocol.State) {
	t.Helper()
	for _, p := range []struct {
		phone   *phone
		restart bool
	}{{b, false}, {a, true}} {
		s := expect[*protocol.CallState](p.phone)
		if s.State != state || s.Restart != p.restart || s.RelayOnly || s.ICE == nil || len(s.ICE.Servers) == 0 {
			t.Errorf("a side hears %+v", s)
		}
	}
}

// The relay of a call is drained, or dies, on whichever side it was: the call leaves
// it, on whatever node that is noticed, and other calls stay.
func TestCallsLeaveTheirRelay(t *testing.T) {
	const here, other = "relay-1.example:3478", "relay-2.example:3478"
	for _, state := range []RelayState{RelayDrains, RelayLost} {
		for _, test := range []struct {
			name           string
			caller, callee string
			leaves         bool
		}{
			{"the caller's", here, "", true},
			{"the callee's", "", here, true},
			{"of both", here, here, true},
			{"another", other, other, false},
			{"none", "", "", false},
		} {
			t.Run(fmt.Sprintf("%s, %s", test.name, state), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					relays := &fleet{}
					w.relays = relays
					n1, n2, n3 := w.node("n1"), w.node("n2"), w.node("n3")
					time.Sleep(2 * lookEvery)
					a, b := n1.connect(w.device(n1, alice)), n2.connect(w.device(n2, bob))
					relayed(t, a, b, "c1", test.caller, test.callee)

					relays.set(here, state)
					for _, n := range []*node{n1, n2, n3} {
						n.server.LeaveRelays()
					}
					time.Sleep(time.Second)
					if !test.leaves {
						nothing[*protocol.CallState](a)
						nothing[*protocol.CallState](b)
						return
					}
					moved(t, a, b, protocol.Active)
					if r := w.stored(n1, "c1"); r.Moves == 0 {
						t.Error("the record does not know")
					}
					// That it is found once more changes nothing.
					n1.server.LeaveRelays()
					n3.server.LeaveRelays()
					time.Sleep(time.Second)
					synctest.Wait()
					if test.caller == test.callee {
						nothing[*protocol.CallState](a)
						nothing[*protocol.CallState](b)
					}
				})
			})
		}
	}
}

// A call that comes to a relay which is drained already leaves it at once.
func TestACallThatComesLateLeavesItsRelay(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relays := &fleet{}
		w.relays = relays
		relays.set("relay-1.example:3478", RelayDrains)
		n := w.node("n1")
		a, b := n.connect(w.device(n, alice)), n.connect(w.device(n, bob))
		ringing(t, a, b, "c1", bob)
		ok[protocol.CallReply](b, &protocol.CallAnswer{Call: "c1", SDP: answerSDP})
		a.send(protocol.Frame{}, &protocol.CallReport{Call: "c1", Media: protocol.MediaConnected, Path: &protocol.Path{Local: "relay", Remote: "host", Protocol: "udp", Server: "relay-1.example:3478"}})
		moved(t, a, b, protocol.Connecting)
	})
}

// The node that was to look after a call dies, and the relay with it, as when they are
// on one machine.
func TestCallsLeaveARelayThatDiesWithTheirNode(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		relays := &fleet{}
		w.relays = relays
		n1, n2 := w.node("n1"), w.node("n2")
		time.Sleep(2 * lookEvery)
		// Both are connected to the node that lives; the calls are for the other to look at.
		var phones [][2]*phone
		for i := range 8 {
			a, b := n2.connect(w.device(n2, fmt.Sprintf("+1415555%04d", 200+i))), n2.connect(w.device(n2, fmt.Sprintf("+1415555%04d", 300+i)))
			id := fmt.Sprintf("c%d", i)
			ok[protocol.CallInvited](a, &protocol.CallInvite{Call: id, To: fmt.Sprintf("+1415555%04d", 300+i), Media: []protocol.Media{protocol.Audio}, SDP: offerSDP})
			expect[*protocol.CallIncoming](b)
			ok[protocol.CallReply](b, &protocol.CallAnswer{Call: id, SDP: answerSDP})
			a.send(protocol.Frame{}, &protocol.CallReport{Call: id, Media: protocol.MediaConnected, Path: &protocol.Path{Local: "relay", Remote: "host", Protocol: "udp", Server: "r:1"}})
			phones = append(phones, [2]*phone{a, b})
		}
		time.Sleep(time.Second)
		synctest.Wait()
		n1.crash()
		relays.set("r:1", RelayLost)
		n2.server.LeaveRelays()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		for i := range phones {
			if r := w.stored(n2, fmt.Sprintf("c%d", i)); r.Moves != 1 {
				t.Errorf("call %d has moved %d times", i, r.Moves)
			}
		}
	})
}
