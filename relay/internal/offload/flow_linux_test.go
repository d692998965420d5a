package offload

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"
)

// ends are those of one of many flows.
func ends(i int) Ends {
	e := twoFamilies[i%2]
	e.Client = netip.AddrPortFrom(e.Client.Addr(), uint16(10_000+i))
	e.Relay = netip.AddrPortFrom(e.Relay.Addr(), uint16(10_000+i))
	return e
}

// unmetered installs a flow without looking for a way.
func (b *bench) unmetered(t testing.TB, e Ends) *Flow {
	t.Helper()
	f, err := b.Path.install(e, [2]Meters{}, [2]route{{1, mtu}, {1, mtu}})
	if err != nil {
		t.Fatal(err)
	}
	f.Extend(b.clock()+int64(time.Hour), true)
	return f
}

// entries are the kernel's.
func (b *bench) entries(t testing.TB) map[programKey]programTarget {
	t.Helper()
	all := make(map[programKey]programTarget)
	var key programKey
	var target programTarget
	i := b.Path.flows.Iterate()
	for i.Next(&key, &target) {
		all[key] = target
	}
	if err := i.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// has fails if the kernel has not what these flows are and nothing else.
func (b *bench) has(t testing.TB, flows ...*Flow) {
	t.Helper()
	all := b.entries(t)
	if len(all) != len(flows)*perFlow || b.Len() != len(flows) {
		t.Fatalf("%d entries, and %d flows, want %d flows", len(all), b.Len(), len(flows))
	}
	for _, f := range flows {
		keys, targets := f.ends.entries(f.way)
		for i, key := range keys {
			if all[key] != targets[i] {
				t.Fatalf("%+v: %+v, want %+v", key, all[key], targets[i])
			}
		}
	}
}

// rested has what was given back rest no longer, as if so much time had passed.
func (b *bench) rested() {
	for i := range b.resting {
		b.resting[i].since = b.resting[i].since.Add(-rest)
	}
}

func TestNothingIsLeftAfterTheLastFlow(t *testing.T) {
	b := newBench(t)
	r := newRandom()
	var all []*Flow
	for i := range 1000 {
		if len(all) < 50 && r.IntN(5) > 0 {
			all = append(all, b.unmetered(t, ends(i)))
		} else if len(all) > 0 {
			at := r.IntN(len(all))
			b.Remove(all[at])
			b.Remove(all[at]) // does nothing
			all = slices.Delete(all, at, at+1)
		}
		if b.rested(); i%100 == 0 {
			b.has(t, all...)
		}
	}
	for _, f := range all {
		b.Remove(f)
	}
	b.has(t)
	b.rested()
	b.sweep()
	if len(b.freeWays) != 100 || len(b.used) != 0 || len(b.resting) != 0 {
		t.Errorf("%d places are free, %d are used, %d rest", len(b.freeWays), len(b.used), len(b.resting))
	}
	if n, err := b.Reconcile(); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// An allocation may end, and its client have another with the same addresses, before the
// first one's flows are removed.
func TestSameKeyAgain(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(e *Ends)
	}{
		{"both", func(*Ends) {}},
		{"what the client sends", func(e *Ends) { e.Peer = netip.AddrPortFrom(e.Peer.Addr(), 7) }},
		{"what the peer sends", func(e *Ends) { e.Channel = 0x4321 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, old := range twoFamilies {
				b := newBench(t, old)
				first, next := b.installed[0], old
				tt.change(&next)
				second := b.unmetered(t, next)
				b.has(t, second)
				b.model.flows[0].ends = next
				for _, up := range []bool{true, false} {
					b.relays(t, way{next, up}.packet(make([]byte, 9)).bytes())
					b.try(t, way{old, up}.packet(make([]byte, 9)).bytes())
				}
				b.Remove(first) // it was already
				first.Extend(b.clock()+1e12, true)
				first.EndDown()
				first.End()
				b.has(t, second)
				for _, up := range []bool{true, false} {
					b.relays(t, way{next, up}.packet(make([]byte, 9)).bytes())
				}
				b.Remove(second)
				b.has(t)
			}
		})
	}
}

func TestFull(t *testing.T) {
	b := newBench(t)
	var all []*Flow
	for i := range 100 {
		all = append(all, b.unmetered(t, ends(i)))
	}
	install := func() error {
		_, err := b.Path.install(ends(1000), [2]Meters{}, [2]route{{1, mtu}, {1, mtu}})
		return err
	}
	if err := install(); !errors.Is(err, ErrFull) {
		t.Fatalf("one too many: %v", err)
	}
	b.has(t, all...)
	b.Remove(all[0])
	if err := install(); !errors.Is(err, ErrFull) {
		t.Fatalf("a place is given away that the kernel may be using: %v", err)
	}
	b.rested()
	if err := install(); err != nil {
		t.Fatal(err)
	}
}

// What others have put into the kernel's table until it was full keeps nothing there.
func TestFullOfStrangers(t *testing.T) {
	b := newBench(t)
	strange := func() (n int) {
		for i := range 2 * 100 {
			if b.Path.flows.Put(programKey{Channel: uint16(i)}, programTarget{}) == nil {
				n++
			}
		}
		return n
	}
	n := strange()
	if _, err := b.Path.install(ends(0), [2]Meters{}, [2]route{{1, mtu}, {1, mtu}}); !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if b.Len() != 0 {
		t.Errorf("%d flows", b.Len())
	}
	if got, err := b.Reconcile(); got != n || err != nil {
		t.Errorf("%d differences, want %d: %v", got, n, err)
	}
	b.has(t, b.unmetered(t, ends(0)))
}

func TestMetersRunOut(t *testing.T) {
	b := newBench(t)
	var all []*Meter
	for range 100 * metersAFlow {
		m := b.Meter(1000)
		if m == nil || m.index == 0 || m.index == meterUp || m.index == meterDown || slices.ContainsFunc(all, func(x *Meter) bool { return x.index == m.index }) {
			t.Fatalf("meter %+v", m)
		}
		all = append(all, m)
	}
	if m := b.Meter(1000); m != nil {
		t.Fatalf("one too many: %+v", m)
	}
	all[0].Full.Store(77)
	b.Free(all[0])
	if m := b.Meter(1000); m != nil {
		t.Fatalf("a meter is given away that the kernel may be using: %+v", m)
	}
	b.rested()
	if m := b.Meter(2000); m == nil || m.Full.Load() != 0 || b.meters[m.index].PerSecond != 2000 {
		t.Fatalf("meter %+v", m)
	}
}

func TestReconcile(t *testing.T) {
	b := newBench(t)
	var all []*Flow
	for i := range 10 {
		all = append(all, b.unmetered(t, ends(i)))
	}
	strange := programKey{Channel: 1}
	for _, tt := range []struct {
		name string
		do   func() error
		want int
	}{
		{"nothing", func() error { return nil }, 0},
		{"an entry is gone", func() error { return b.Path.flows.Delete(all[3].keys[up]) }, 1},
		{"a flow is gone", func() error {
			return errors.Join(b.Path.flows.Delete(all[3].keys[up]), b.Path.flows.Delete(all[3].keys[down]))
		}, 2},
		{"an entry is another flow's", func() error { return b.Path.flows.Put(all[2].keys[up], all[4].target(all[4].keys[up])) }, 1},
		{"an entry is another", func() error { return b.Path.flows.Put(all[2].keys[down], programTarget{}) }, 1},
		{"a stranger", func() error { return b.Path.flows.Put(strange, all[4].target(all[4].keys[up])) }, 1},
		{"all of it", func() error {
			return errors.Join(b.Path.flows.Delete(all[0].keys[up]), b.Path.flows.Put(all[1].keys[up], programTarget{}), b.Path.flows.Put(strange, programTarget{}))
		}, 3},
		{"all are gone", func() (err error) {
			for _, f := range all {
				err = errors.Join(err, b.Path.flows.Delete(f.keys[up]), b.Path.flows.Delete(f.keys[down]))
			}
			return err
		}, 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); err != nil {
				t.Fatal(err)
			}
			if n, err := b.Reconcile(); n != tt.want || err != nil {
				t.Errorf("%d differences, want %d: %v", n, tt.want, err)
			}
			b.has(t, all...)
			if n, err := b.Reconcile(); n != 0 || err != nil {
				t.Errorf("%d differences after that: %v", n, err)
			}
		})
	}
}

// What a flow carried is counted for good, and once, while it is there, rests, and is no
// more, and its place another's.
func TestTrafficOfFlowsThatAreNoMore(t *testing.T) {
	b := newBench(t)
	var want Traffic
	count := func(when string) {
		t.Helper()
		if up, down := b.Traffic(); up != want || down != want {
			t.Fatalf("%s: %+v and %+v, want %+v", when, up, down, want)
		}
	}
	for i := range 300 {
		e := ends(i)
		b.model.flows = []modelFlow{{ends: e, mtu: [2]int{mtu, mtu}}}
		f := b.unmetered(t, e)
		count("installed")
		for _, up := range []bool{true, false} {
			b.relays(t, way{e, up}.packet(make([]byte, i)).bytes())
		}
		want.Packets++
		want.Bytes += uint64(i)
		count("relayed")
		b.Remove(f)
		if f.Media() != 0 {
			t.Fatal("media after it was removed")
		}
		count("removed")
		b.rested()
		b.sweep()
		count("no more")
	}
}

// Flows are ended, and looked at, by anybody while they come and go.
func TestFlowsAtOnce(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var current []*Flow
	done := make(chan struct{})
	var all sync.WaitGroup
	stop := sync.OnceFunc(func() { close(done); all.Wait() })
	defer stop()
	all.Go(func() { // what was counted never becomes less
		var last [2]Traffic
		for {
			var now [2]Traffic
			now[up], now[down] = b.Traffic()
			if _, err := b.Left(); err != nil {
				t.Error(err)
			}
			for i := range now {
				if now[i].Packets < last[i].Packets || now[i].Bytes < last[i].Bytes {
					t.Errorf("counted %+v, and then %+v", last, now)
					return
				}
			}
			last = now
			select {
			case <-done:
				return
			default:
			}
		}
	})
	for n := range 2 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				mu.Lock()
				for i, f := range current {
					switch (i + n) % 3 {
					case 0:
						f.End()
					case 1:
						f.EndDown()
					case 2:
						f.Media()
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Go(func() { // packets, of flows that are there or not
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			if _, _, err := b.run(way{ends(i % 20), i%2 == 0}.packet(make([]byte, 100)).bytes()); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 700 {
		f := b.unmetered(t, ends(i%20))
		mu.Lock()
		if current = append(current, f); len(current) > 10 {
			current = current[1:]
		}
		mu.Unlock()
		for range 5 {
			f.Extend(b.clock()+int64(time.Hour), true)
		}
		if i%3 == 0 {
			b.Remove(f)
		}
		b.rested()
		if i%100 == 0 {
			if n, err := b.Reconcile(); n != 0 || err != nil {
				t.Error(n, err)
			}
		}
	}
	stop()
	for len(b.Path.installed) > 0 {
		for _, f := range b.Path.installed {
			b.Remove(f)
			break
		}
	}
	b.has(t)
	if up, down := b.Traffic(); up.Packets == 0 || down.Packets == 0 {
		t.Errorf("nothing was relayed: %+v, %+v", up, down)
	}
}
