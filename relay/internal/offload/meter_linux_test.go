package offload

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"switchboard/relay/internal/tokens"
)

// slack is how far apart the clocks here and in the kernel may be, in ns.
const slack = int64(20 * time.Microsecond)

// metered is a flow with one meter of those that its packets one way are metered by.
func metered(t *testing.T, w way, scope string, perSecond int64) (*bench, *Flow, *Meter) {
	b := newBench(t)
	var m *Meter
	var meters [2]Meters
	this := down
	if w.up {
		this = up
	}
	switch scope {
	case "own":
		m = b.Meter(perSecond)
		meters[this].Own = m
	case "user":
		m = b.Meter(perSecond)
		meters[this].User = m
	case "all":
		b.Bound(perSecond, func(up, down *Meter) {
			if m = down; w.up {
				m = up
			}
		})
	}
	f, err := b.Path.install(w.Ends, meters, [2]route{{1, mtu}, {1, mtu}})
	if err != nil {
		t.Fatal(err)
	}
	f.Extend(b.clock()+int64(time.Hour), true)
	return b, f, m
}

// The kernel and this process take from the same buckets by the same rule, to the
// nanosecond.
func TestMeters(t *testing.T) {
	for _, w := range ways() {
		for _, scope := range []string{"own", "user", "all"} {
			for _, perSecond := range []int64{1000, 1_234_567, 125_000_000_000} {
				t.Run(fmt.Sprintf("%v/%s/%d bytes a second", w, scope, perSecond), func(t *testing.T) {
					b, f, m := metered(t, w, scope, perSecond)
					r := newRandom()
					var relayed, dropped, payload uint64
					m.Full.Store(b.clock())
					for range 300 {
						others(m, r, b.clock(), perSecond)
						n := r.IntN(1400)
						if pays(t, b, w, m, r, n, perSecond) {
							relayed++
							payload += uint64(n)
						} else {
							dropped++
						}
					}
					toPeers, toClients := b.Traffic()
					got, other := toClients, toPeers
					if w.up {
						got, other = toPeers, toClients
					}
					if want := (Traffic{relayed, payload, dropped}); got != want || other != (Traffic{}) {
						t.Errorf("counted %+v, and %+v the other way, want %+v", got, other, want)
					}
					if perSecond <= 1_234_567 && dropped == 0 || relayed == 0 {
						t.Errorf("%d were relayed, and %d dropped", relayed, dropped)
					}
					f.End()
				})
			}
		}
	}
}

// others is what happens to a meter between two packets: time passes, and others take from it.
func others(m *Meter, r *rand.Rand, now, perSecond int64) {
	packet := 700 * int64(time.Second) / perSecond
	switch r.IntN(20) {
	case 0:
		m.Full.Add(-r.Int64N(int64(time.Second)))
	case 1, 2, 3, 4:
		m.Full.Add(-r.Int64N(4*packet + 1))
	case 5, 6:
		m.Full.Store(now + burst - r.Int64N(4*packet+1))
	}
}

// pays sends a packet with n bytes of payload, and fails if the bucket has not become what
// Pay makes of it at some time while that was sent.
func pays(t *testing.T, b *bench, w way, m *Meter, r *rand.Rand, n int, perSecond int64) (relayed bool) {
	t.Helper()
	cost, before, began := int64(n)*int64(time.Second)/perSecond, m.Full.Load(), b.clock()-slack
	_, action, err := b.run(w.packet(random(r, n)).bytes())
	if err != nil {
		t.Fatal(err)
	}
	after, ended := m.Full.Load(), b.clock()+slack
	var here atomic.Int64
	here.Store(before)
	switch action {
	case actShot:
		if after != before {
			t.Fatalf("a packet that was dropped has taken %d ns", after-before)
		}
		if tokens.Pay(&here, cost, burst, began) {
			t.Fatalf("a packet of %d ns was dropped, where %d ns were left", cost, burst-max(0, before-began))
		}
		return false
	case actRedirect:
		now := after - cost
		if now == before { // it was not full yet
			now = min(before, ended)
		}
		if now < began || now > ended {
			t.Fatalf("the kernel's time is not between %d and %d: %d", began, ended, now)
		}
		if !tokens.Pay(&here, cost, burst, now) || here.Load() != after {
			t.Fatalf("a packet of %d ns was relayed at %d: full at %d before, and at %d then, want %d", cost, now, before, after, here.Load())
		}
		return true
	}
	t.Fatalf("the program says %d", int32(action))
	return false
}

// burst is that of the relay's meters and of the program's.
const burst = int64(time.Second / 2)

// A packet that one's own meter does not let through takes nothing from those that are
// shared with others.
func TestMetersInTurn(t *testing.T) {
	for _, w := range ways() {
		t.Run(w.String(), func(t *testing.T) {
			b := newBench(t)
			var all [2]*Meter
			b.Bound(1_000_000, func(up, down *Meter) { all = [2]*Meter{up, down} })
			own, user := b.Meter(1_000_000), b.Meter(1_000_000)
			var meters [2]Meters
			this := down
			if w.up {
				this = up
			}
			meters[this] = Meters{Own: own, User: user}
			f, err := b.Path.install(w.Ends, meters, [2]route{{1, mtu}, {1, mtu}})
			if err != nil {
				t.Fatal(err)
			}
			f.Extend(b.clock()+int64(time.Hour), true)
			frame := w.packet(make([]byte, 1000)).bytes()
			in := []*Meter{own, user, all[this]}
			for empty := range 4 {
				for i, m := range in {
					if m.Full.Store(0); i == empty {
						m.Full.Store(b.clock() + int64(time.Hour))
					}
				}
				all[1-this].Full.Store(0)
				_, action, err := b.run(frame)
				if err != nil {
					t.Fatal(err)
				}
				if relayed := action == actRedirect; relayed != (empty == 3) {
					t.Errorf("meter %d is empty: %d", empty, int32(action))
				}
				for i, m := range in {
					if i != empty && (m.Full.Load() != 0) != (i < empty) {
						t.Errorf("meter %d is empty: full at %d of meter %d", empty, m.Full.Load(), i)
					}
				}
				if all[1-this].Full.Load() != 0 {
					t.Errorf("meter %d is empty: the other way has paid", empty)
				}
			}
		})
	}
}

// What is not relayed costs nothing.
func TestMetersOfPacketsThatAreLeft(t *testing.T) {
	for _, w := range ways() {
		b, f, m := metered(t, w, "own", 125_000)
		long := w.packet(make([]byte, 1480))
		unfinishedSum := w.packet(make([]byte, 100))
		unfinishedSum.summing = unfinished
		last := w.packet(make([]byte, 100))
		last.hops = 1
		for _, p := range []packet{long, unfinishedSum, last} {
			if _, action, err := b.run(p.bytes()); err != nil || action != actUnspec {
				t.Fatal(int32(action), err)
			}
		}
		f.End()
		if _, action, err := b.run(w.packet(nil).bytes()); err != nil || action != actUnspec {
			t.Fatal(int32(action), err)
		}
		if full := m.Full.Load(); full != 0 {
			t.Errorf("%v: full at %d", w, full)
		}
	}
}

// STUN, which keeps ways open when nobody speaks, does not count as media (RFC 7983 section
// 7).
func TestMedia(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		f := b.installed[0]
		if !w.is4() {
			f = b.installed[1]
		}
		b.relays(t, w.packet(nil).bytes())
		last := f.Media()
		for first := range 256 {
			began := b.clock() - slack
			b.relays(t, w.packet([]byte{byte(first), 0, 0}).bytes())
			now := f.Media()
			switch {
			case first <= 3 && now != last:
				t.Errorf("%d is media", first)
			case first > 3 && (now < began || now > b.clock()+slack):
				t.Errorf("%d: media at %d, between %d and %d", first, now, began, b.clock())
			}
			last = now
		}
	})
}

func TestCounters(t *testing.T) {
	each(t, func(t *testing.T, b *bench, w way, r *rand.Rand) {
		before := [2]Traffic{}
		before[up], before[down] = b.Traffic()
		want := before
		this := down
		if w.up {
			this = up
		}
		for n := range 200 {
			b.relays(t, w.packet(make([]byte, n)).bytes())
			want[this].Packets++
			want[this].Bytes += uint64(n)
		}
		var got [2]Traffic
		if got[up], got[down] = b.Traffic(); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		if left := b.counts(t); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}
