package phone_test

import (
	"context"
	"testing"
	"time"

	"switchboard/cmd/internal/phone"
	"switchboard/relay/natlab"
	"switchboard/signaling/protocol"
)

// lasts is how long a call has media.
const lasts = 10 * time.Second

// TestCall is a whole call between two phones, directly and through a relay by all that
// leads there. It takes the time that it lasts, and no real one, and nothing is left of
// it.
func TestCall(t *testing.T) {
	routed, symmetric := natlab.RouterSpec{}, natlab.RouterSpec{NAT: &natlab.Symmetric}
	noUDP := natlab.RouterSpec{NAT: &natlab.PortRestricted, Firewall: natlab.Firewall{BlockUDP: true}}
	onlyTLS := natlab.RouterSpec{NAT: &natlab.PortRestricted, Firewall: natlab.Firewall{BlockUDP: true, TCPPorts: []uint16{80, 443}}}
	for _, test := range []struct {
		name   string
		router natlab.RouterSpec // of both
		wait   time.Duration
		want   protocol.Path // of the caller
	}{
		{"direct", routed, 0, protocol.Path{Local: "host", Remote: "host", Protocol: "udp"}},
		{"set up while it rings", routed, 3 * time.Second, protocol.Path{Local: "host", Remote: "host", Protocol: "udp"}},
		{"relay", symmetric, 0, protocol.Path{Local: "relay", Remote: "relay", Protocol: "udp", Relay: "udp", Server: "relay-a:3478"}},
		{"relay by TCP", noUDP, 0, protocol.Path{Local: "relay", Remote: "relay", Protocol: "udp", Relay: "tcp", Server: "relay-a:3478"}},
		{"relay by TLS", onlyTLS, 0, protocol.Path{Local: "relay", Remote: "relay", Protocol: "udp", Relay: "tls", Server: "relay-a:443"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				at, bt := w.behind("alice", test.router), w.behind("bob", test.router)
				a, b := w.phone(alice, at), w.phone(bob, bt)
				defer a.Close()
				defer b.Close()
				w.acquaint(a, bob) // strangers set nothing up before the answer
				w.acquaint(b, alice)
				answer, place := w.options(bt), w.options(at)
				answer.Wait, place.Duration = test.wait, lasts
				answer.RelayOnly, place.RelayOnly = test.want.Local == "relay", test.want.Local == "relay"
				answered := take(t.Context(), b, answer)
				caller, err := phone.Place(t.Context(), a, bob, place)
				if err != nil {
					t.Fatal(err)
				}
				callee := <-answered
				if callee.err != nil {
					t.Fatal(callee.err)
				}
				if caller.Path == nil || *caller.Path != test.want {
					t.Errorf("the caller's path was %+v, want %+v", caller.Path, test.want)
				}
				for side, got := range map[string]phone.Summary{"caller": caller, "callee": callee.Summary} {
					check(t, side, got, test.wait)
				}
			})
		})
	}
}

func check(t *testing.T, side string, s phone.Summary, wait time.Duration) {
	t.Helper()
	if s.Reason != protocol.ReasonHangup || !s.Answered || s.Answer < wait || s.Began.IsZero() {
		t.Errorf("%s: ended with %q, answered after %v", side, s.Reason, s.Answer)
	}
	if s.Path == nil || len(s.Paths) == 0 || s.Paths[len(s.Paths)-1].Path != *s.Path {
		t.Errorf("%s: the path was %v, of %v", side, s.Path, s.Paths)
	}
	if s.Connected > 3*time.Second || s.Media < 2*delay || s.Media > 3*time.Second || s.RoundTrip < 4*delay {
		t.Errorf("%s: connected after %v, media after %v, round trip %v", side, s.Connected, s.Media, s.RoundTrip)
	}
	if frames := uint64(lasts / (20 * time.Millisecond)); s.Received < frames-10 || s.Sent < frames-10 || s.Lost > 0 {
		t.Errorf("%s: %d packets sent, %d received, %d lost", side, s.Sent, s.Received, s.Lost)
	}
	if s.Pairs < 1 || s.Tried < 1 || s.Tried > s.Pairs {
		t.Errorf("%s: %d pairs, %d tried", side, s.Pairs, s.Tried)
	}
	if len(s.Candidates) == 0 {
		t.Errorf("%s: no candidates", side)
	}
	for _, c := range s.Candidates {
		if relayed := c.Type == "relay"; relayed != (c.Relay != "") || relayed != (c.Server != "") || relayed && c.Base == "" {
			t.Errorf("%s: candidate %+v", side, c)
		}
	}
	wants := [][]phone.What{{phone.Invited, phone.Answered, phone.ICEConnected, phone.FirstMedia, phone.Ended}, {phone.Answered, phone.Connected, phone.Ended}}
	if wait > 0 {
		wants = [][]phone.What{{phone.Invited, phone.Ringing, phone.ICEConnected, phone.Connected, phone.Answered, phone.FirstMedia, phone.Ended}}
	}
	for _, want := range wants {
		if !inOrder(happened(s), want) {
			t.Errorf("%s: it went %v, want %v in it", side, happened(s), want)
		}
	}
}

// happened is what happened in a call, without its candidates.
func happened(s phone.Summary) (all []phone.What) {
	for _, m := range s.Moments {
		if m.What != phone.CandidateFound {
			all = append(all, m.What)
		}
	}
	return all
}

// inOrder reports whether all has what want has, in its order.
func inOrder(all, want []phone.What) bool {
	for _, w := range all {
		if len(want) > 0 && w == want[0] {
			want = want[1:]
		}
	}
	return len(want) == 0
}

// The caller lets it ring no longer, and the phone that rang has missed the call.
func TestNobodyAnswers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at, bt := w.behind("alice", natlab.RouterSpec{}), w.behind("bob", natlab.RouterSpec{})
		a, b := w.phone(alice, at), w.phone(bob, bt)
		defer a.Close()
		defer b.Close()
		answer, place := w.options(bt), w.options(at)
		answer.Wait, place.Ring = phone.Forever, 10*time.Second
		missed := take(t.Context(), b, answer)
		caller, err := phone.Place(t.Context(), a, bob, place)
		if err != nil || caller.Answered || !caller.GaveUp || caller.Reason != protocol.ReasonCanceled || caller.Ringing == 0 {
			t.Errorf("the caller: %v, %+v", err, caller)
		}
		if callee := <-missed; callee.err != nil || callee.Answered || callee.Reason != protocol.ReasonCanceled {
			t.Errorf("the callee: %v, %+v", callee.err, callee.Summary)
		}
	})
}

// Both call each other at once: one call comes of it.
func TestBothCallAtOnce(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at, bt := w.behind("alice", natlab.RouterSpec{}), w.behind("bob", natlab.RouterSpec{})
		a, b := w.phone(alice, at), w.phone(bob, bt)
		defer a.Close()
		defer b.Close()
		other := make(chan taken, 1)
		from, to := w.options(at), w.options(bt)
		from.Duration, to.Duration = 2*time.Second, 2*time.Second
		go func() {
			s, err := phone.Place(t.Context(), b, alice, to)
			other <- taken{s, err}
		}()
		one, err := phone.Place(t.Context(), a, bob, from)
		two := <-other
		for _, got := range []taken{{one, err}, two} {
			if got.err != nil || !got.Answered || got.Received == 0 {
				t.Errorf("%v, %+v", got.err, got.Summary)
			}
		}
	})
}

// A phone whose address changes is found again: the path changes, and it is known when
// media was away.
func TestAnotherAddress(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at, bt := w.behind("alice", natlab.RouterSpec{}), w.behind("bob", natlab.RouterSpec{})
		mobile := w.Internet().AddRouter("mobile-nat", natlab.RouterSpec{NAT: &natlab.PortRestricted}, natlab.NetworkSpec{})
		a, b := w.phone(alice, at), w.phone(bob, bt)
		defer a.Close()
		defer b.Close()
		answer, place := w.options(bt), w.options(at)
		place.Duration = time.Minute
		answered := take(t.Context(), b, answer)
		moved := time.AfterFunc(20*time.Second, func() { at.Move(mobile) })
		defer moved.Stop()
		caller, err := phone.Place(t.Context(), a, bob, place)
		if err != nil {
			t.Fatal(err)
		}
		callee := <-answered
		if callee.err != nil {
			t.Fatal(callee.err)
		}
		for side, s := range map[string]phone.Summary{"caller": caller, "callee": callee.Summary} {
			want := []phone.What{phone.FirstMedia, phone.Restarted, phone.ICEConnected, phone.Ended}
			if !inOrder(happened(s), want) {
				t.Errorf("%s: it went %v, want %v in it", side, happened(s), want)
			}
			if s.Gap < 100*time.Millisecond || s.Gap > 5*time.Second || s.GapAt < 19*time.Second || s.GapAt > 21*time.Second {
				t.Errorf("%s: nothing was heard for %v from %v on", side, s.Gap, s.GapAt)
			}
			if len(s.Paths) < 2 || s.Paths[1].At < 20*time.Second {
				t.Errorf("%s: paths %v", side, s.Paths)
			}
		}
	})
}

// Between strangers nothing is set up while it rings. What has been found until then still
// works when somebody answers at last, also behind NATs that forget soon.
func TestLongRinging(t *testing.T) {
	forgets := natlab.Symmetric
	forgets.Timeout = 30 * time.Second
	inWorld(t, func(t *testing.T, w *world) {
		at, bt := w.behind("alice", natlab.RouterSpec{NAT: &forgets}), w.behind("bob", natlab.RouterSpec{NAT: &forgets})
		a, b := w.phone(alice, at), w.phone(bob, bt)
		defer a.Close()
		defer b.Close()
		answer, place := w.options(bt), w.options(at)
		answer.RelayOnly, place.RelayOnly = true, true
		answer.Transport, place.Transport = "udp", "udp"
		answer.Wait, place.Duration = 40*time.Second, lasts
		answered := take(t.Context(), b, answer)
		caller, err := phone.Place(t.Context(), a, bob, place)
		if err != nil {
			t.Fatal(err)
		}
		callee := <-answered
		if callee.err != nil {
			t.Fatal(callee.err)
		}
		for side, s := range map[string]phone.Summary{"caller": caller, "callee": callee.Summary} {
			if s.Answer < answer.Wait || s.Connected > time.Second || s.Received == 0 || s.Restarts > 0 {
				t.Errorf("%s: answered after %v, connected %v later, %d packets, %d restarts", side, s.Answer, s.Connected, s.Received, s.Restarts)
			}
		}
	})
}

// Who hangs up while nothing reaches the server does not wait for it for ever.
func TestHangUpWithoutServer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at, bt := w.behind("alice", natlab.RouterSpec{}), w.behind("bob", natlab.RouterSpec{})
		a, b := w.phone(alice, at), w.phone(bob, bt)
		defer a.Close()
		defer b.Close()
		place := w.options(at)
		place.Warn = nil // reports are not taken, either
		answered := take(t.Context(), b, w.options(bt))
		ctx, hangUp := context.WithTimeout(t.Context(), 10*time.Second)
		defer hangUp()
		cut := time.AfterFunc(5*time.Second, at.Networks()[0].Cut)
		defer cut.Stop()
		begun := time.Now()
		caller, err := phone.Place(ctx, a, bob, place)
		if took := time.Since(begun); err == nil || took < 2*time.Minute || took > 3*time.Minute {
			t.Errorf("it ended after %v: %v", took, err)
		}
		if !caller.Answered || caller.Received == 0 || caller.Silent < time.Minute {
			t.Errorf("the caller: %+v", caller)
		}
		at.Networks()[0].Restore()
		if callee := <-answered; callee.err != nil || callee.Reason != protocol.ReasonConnectionLost {
			t.Errorf("the callee: %v, %q", callee.err, callee.Reason)
		}
	})
}
