package phone_test

import (
	"testing"
	"time"

	"switchboard/cmd/internal/phone"
	"switchboard/relay/natlab"
	"switchboard/signaling/protocol"
)

// A phone that gets another address, beside its old one or in the place of it, is heard
// again long before ICE would have missed anything.
func TestAnotherNetwork(t *testing.T) {
	for _, test := range []struct {
		name   string
		moves  func(h *natlab.Host, other *natlab.Network)
		relay  bool
		within time.Duration
	}{
		{"a VPN goes on and off", func(h *natlab.Host, vpn *natlab.Network) {
			h.Join(vpn)
			time.Sleep(8 * time.Second)
			h.Leave(vpn)
		}, false, 5 * time.Second},
		{"it moves", (*natlab.Host).Move, false, 5 * time.Second},
		{"it moves, with relays alone", (*natlab.Host).Move, true, 4 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				at, bt := w.behind("alice", natlab.RouterSpec{NAT: &natlab.PortRestricted}), w.behind("bob", natlab.RouterSpec{NAT: &natlab.PortRestricted})
				other := w.Internet().AddRouter("other-nat", natlab.RouterSpec{NAT: &natlab.PortRestricted}, natlab.NetworkSpec{Link: natlab.Link{Delay: delay}})
				a, b := w.phone(alice, at), w.phone(bob, bt)
				defer a.Close()
				defer b.Close()
				answer, place := w.options(bt), w.options(at)
				place.Duration = 20 * time.Second
				answer.RelayOnly, place.RelayOnly = test.relay, test.relay
				answered := take(t.Context(), b, answer)
				go func() {
					time.Sleep(5 * time.Second)
					test.moves(at, other)
				}()
				caller, err := phone.Place(t.Context(), a, bob, place)
				if err != nil {
					t.Fatal(err)
				}
				callee := <-answered
				if callee.err != nil {
					t.Fatal(callee.err)
				}
				for side, got := range map[string]phone.Summary{"caller": caller, "callee": callee.Summary} {
					if got.Reason != protocol.ReasonHangup || got.Gap > test.within {
						t.Errorf("%s: ended with %q, longest gap %v, want at most %v", side, got.Reason, got.Gap, test.within)
					}
				}
			})
		})
	}
}

// A network that was gone for a while, of either side, costs no direct path: what ICE waits
// for it counts from when both sides are there.
func TestDirectAgain(t *testing.T) {
	for _, who := range []string{"caller", "callee"} {
		t.Run(who, func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				at, bt := w.behind("alice", natlab.RouterSpec{NAT: &natlab.PortRestricted}), w.behind("bob", natlab.RouterSpec{NAT: &natlab.PortRestricted})
				a, b := w.phone(alice, at), w.phone(bob, bt)
				defer a.Close()
				defer b.Close()
				place := w.options(at)
				place.Duration = 30 * time.Second
				answered := take(t.Context(), b, w.options(bt))
				gone := map[string]*natlab.Host{"caller": at, "callee": bt}[who].Networks()[0]
				go func() {
					time.Sleep(5 * time.Second)
					gone.Cut()
					time.Sleep(10 * time.Second)
					gone.Restore()
				}()
				caller, err := phone.Place(t.Context(), a, bob, place)
				if err != nil {
					t.Fatal(err)
				}
				callee := <-answered
				if callee.err != nil {
					t.Fatal(callee.err)
				}
				for side, got := range map[string]phone.Summary{"caller": caller, "callee": callee.Summary} {
					if got.Path == nil || got.Path.Local == "relay" || got.Path.Remote == "relay" || got.Gap > 20*time.Second {
						t.Errorf("%s: the path was %+v, longest gap %v", side, got.Path, got.Gap)
					}
				}
			})
		})
	}
}
