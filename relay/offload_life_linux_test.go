package relay_test

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"switchboard/relay"
	"switchboard/relay/internal/offloadtest"
)

// What has ended is relayed no more, whoever has relayed it, and the kernel forgets it.
func TestKernelForgets(t *testing.T) {
	offloadtest.NeedRoot(t)
	const short = 3 * time.Second // a busy machine takes a while to begin
	for _, end := range []struct {
		name   string
		config relay.SpaceConfig
		do     func(t *testing.T, l *line)
		alone  string // the only way that ends; "" is both
	}{
		{"the allocation is refreshed to 0", relay.SpaceConfig{}, func(t *testing.T, l *line) {
			if err := l.client.Refresh(brief(t), 0); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"the allocation expires", relay.SpaceConfig{Allocation: short}, waitFor(short), ""},
		{"the channel expires", relay.SpaceConfig{Channel: short}, waitFor(short), "up"},
		{"the permission expires", relay.SpaceConfig{Permission: short}, waitFor(short), "down"},
	} {
		t.Run(end.name, func(t *testing.T) {
			t.Parallel()
			end.config.DataPath = "ebpf"
			s := startSpaced(t, offloadtest.Options{}, end.config)
			l := s.line(t, offloadtest.IPv4)
			s.inKernel(t, l)
			end.do(t, l)
			for _, way := range both {
				if end.alone == "" || way == end.alone {
					l.silent(t, way, "after the end")
				}
			}
			switch end.name {
			case "the permission expires":
				l.passes(t, "up", "is not heard, but heard from")
				if err := l.client.Permit(brief(t), l.to); err != nil {
					t.Fatal(err)
				}
				l.passes(t, "down", "is permitted again")
			case "the channel expires":
				s.untilReport(t, "forgotten", func(r relay.SpaceReport) bool { return r.Entries == 0 && r.Flows == 0 })
			default:
				s.untilReport(t, "forgotten", func(r relay.SpaceReport) bool { return r.Entries == 0 && r.Flows == 0 && r.Allocations == 0 })
			}
		})
	}
}

// waitFor waits until something that lasts for a while has ended.
func waitFor(d time.Duration) func(*testing.T, *line) {
	return func(*testing.T, *line) { time.Sleep(d + d/4) }
}

// stream sends numbered packets each way through a line until it is stopped, and counts what
// comes.
type stream struct {
	line  *line
	stop  chan struct{}
	all   sync.WaitGroup
	sent  [2]atomic.Int64
	heard [2]atomic.Int64
}

// stream starts one, of so many packets a second each way.
func (l *line) stream(t testing.TB, perSecond int) *stream {
	s := &stream{line: l, stop: make(chan struct{})}
	l.peer.SetReadDeadline(time.Time{})
	for i, way := range both {
		s.all.Go(func() { s.send(t, i, way, perSecond) })
	}
	s.all.Go(func() {
		b := make([]byte, 2048)
		for {
			n, _, err := l.peer.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			s.note(t, 0, b[:n])
		}
	})
	s.all.Go(func() {
		for b := range l.heard {
			if len(b) == 0 {
				return
			}
			s.note(t, 1, b)
		}
	})
	return s
}

func (s *stream) send(t testing.TB, i int, way string, perSecond int) {
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	b := media("........")
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		binary.BigEndian.PutUint64(b[1:], uint64(s.sent[i].Add(1)))
		s.line.send(t, way, b)
	}
}

func (s *stream) note(t testing.TB, i int, b []byte) {
	if len(b) != 9 || b[0] != 0x80 {
		t.Errorf("%s: %q came", both[i], b)
		return
	}
	s.heard[i].Add(1)
}

// end stops sending, waits for what is on the way, and returns how many were sent each way,
// and lost.
func (s *stream) end(t testing.TB) (sent, lost [2]int) {
	t.Helper()
	close(s.stop)
	settled := func() bool {
		return s.heard[0].Load() >= s.sent[0].Load() && s.heard[1].Load() >= s.sent[1].Load()
	}
	for end := time.Now().Add(time.Second); time.Now().Before(end) && !settled(); {
		time.Sleep(10 * time.Millisecond)
	}
	s.line.peer.SetReadDeadline(time.Now())
	s.line.heard <- nil
	s.all.Wait()
	s.line.peer.SetReadDeadline(time.Time{})
	for i := range both {
		sent[i] = int(s.sent[i].Load())
		lost[i] = sent[i] - int(s.heard[i].Load())
	}
	return sent, lost
}

// A switch between kernel and sockets loses nothing of what is relayed.
func TestSwitchLosesNothing(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
	s.NoBadSums(t)
	l := s.line(t, offloadtest.IPv6)
	s.inKernel(t, l)
	before := s.report(t)
	traffic := l.stream(t, 2000)
	const switches = 10
	for range switches {
		for _, to := range []string{"user", "ebpf"} {
			if r := s.tell(t, relay.SpaceOrder{DataPath: to}); r.Path.Path != to {
				t.Errorf("%+v, not %s", r.Path, to)
			}
			if to == "user" {
				s.untilReport(t, "out of the kernel", func(r relay.SpaceReport) bool { return r.Entries == 0 && r.Path.InKernel == 0 })
			} else {
				s.untilReport(t, "in the kernel again", func(r relay.SpaceReport) bool { return r.Path.InKernel == 1 })
			}
		}
	}
	sent, lost := traffic.end(t)
	after := s.report(t)
	got := kernelDelta(before, after)
	t.Logf("%d switches there and back: sent %v, lost %v, the kernel relayed %v", switches, sent, lost, got)
	if lost[0]+lost[1] > 5 {
		t.Errorf("lost %v of %v", lost, sent)
	}
	if got["up"] == 0 || got["up"] >= sent[0] || got["down"] == 0 || got["down"] >= sent[1] {
		t.Errorf("the kernel relayed %v of %v", got, sent)
	}
	total := after.Metrics["packets_total/up"] - before.Metrics["packets_total/up"]
	if int(total) != sent[0]-lost[0] && lost[0] == 0 {
		t.Errorf("the relay counts %v up of %d", total, sent[0])
	}
}

// programs is how many programs look at what comes in at an end.
func programs(t testing.TB, e offloadtest.End) int {
	t.Helper()
	index, err := e.Index()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	if err := e.Do(func() error {
		r, err := link.QueryPrograms(link.QueryOptions{Target: index, Attach: ebpf.AttachTCXIngress})
		if err == nil {
			n = len(r.Programs)
		}
		return err
	}); err != nil {
		if errors.Is(err, ebpf.ErrNotSupported) {
			t.Skip("this kernel has no TCX")
		}
		t.Fatal(err)
	}
	return n
}

// A relay that is killed leaves nothing that relays, or looks at packets.
func TestKilledRelayLeavesNothing(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
	l := s.line(t, offloadtest.IPv4)
	s.inKernel(t, l)
	for _, e := range []offloadtest.End{s.RelayToClient, s.RelayToPeer} {
		if n := programs(t, e); n != 1 {
			t.Errorf("%d programs at %s, want 1", n, e.Device)
		}
	}
	if err := s.child.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, way := range both {
		l.silent(t, way, "from the dead")
	}
	for _, e := range []offloadtest.End{s.RelayToClient, s.RelayToPeer} {
		eventually(t, "no program at "+e.Device, func() bool { return programs(t, e) == 0 })
	}
}

// A relay that drains ends an allocation whose media has gone elsewhere, and none whose media
// is in the kernel alone.
func TestDrainingSeesMediaInTheKernel(t *testing.T) {
	offloadtest.NeedRoot(t)
	t.Parallel()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf", UnusedFor: 500 * time.Millisecond})
	busy, idle := s.line(t, offloadtest.IPv4), s.line(t, offloadtest.IPv6)
	s.inKernel(t, busy, idle)
	traffic := busy.stream(t, 50)
	s.tell(t, relay.SpaceOrder{Drain: true})
	idle.up(t, media("once more"))
	s.untilReport(t, "one allocation left", func(r relay.SpaceReport) bool { return r.Allocations == 1 && r.Entries == 2 })
	before := s.report(t)
	time.Sleep(1500 * time.Millisecond) // three times as long as it may be without media
	after := s.report(t)
	if after.Allocations != 1 || after.Entries != 2 {
		t.Errorf("%d allocations with %d entries, though there is media in the kernel", after.Allocations, after.Entries)
	}
	if d := kernelDelta(before, after); d["up"] < 20 || d["down"] < 20 {
		t.Errorf("the kernel relayed %v", d)
	}
	traffic.end(t)
	s.untilReport(t, "none left", func(r relay.SpaceReport) bool { return r.Allocations == 0 && r.Entries == 0 })
}

// The kernel follows when the machine's interfaces, addresses and neighbours change.
func TestKernelFollowsTheNetwork(t *testing.T) {
	offloadtest.NeedRoot(t)
	for _, change := range []struct {
		name string
		do   func(t *testing.T, s *spaced, l *line)
	}{
		{"neighbours are forgotten", func(t *testing.T, s *spaced, l *line) {
			for range 20 {
				for _, e := range []offloadtest.End{s.RelayToClient, s.RelayToPeer} {
					if err := e.Forget(); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
		}},
		{"an interface goes down and up", func(t *testing.T, s *spaced, l *line) {
			for _, e := range []offloadtest.End{s.RelayToClient, s.RelayToPeer} {
				for _, up := range []bool{false, true} {
					if err := e.SetUp(up); err != nil {
						t.Fatal(err)
					}
				}
			}
		}},
		{"the client's side has another address, too", func(t *testing.T, s *spaced, l *line) {
			more := netip.MustParsePrefix("10.71.1.77/24")
			if err := errors.Join(s.RelayToClient.AddAddr(more), s.RelayToClient.RemoveAddr(more)); err != nil {
				t.Fatal(err)
			}
		}},
		{"the way to the peer is gone for a while", func(t *testing.T, s *spaced, l *line) {
			peer := netip.PrefixFrom(s.Peer.Four, 32)
			if err := s.RelayToPeer.Lose(peer, true); err != nil {
				t.Fatal(err)
			}
			s.untilReport(t, "out of the kernel", func(r relay.SpaceReport) bool {
				return r.Path.InKernel == 0 && r.Entries == 0 && r.Metrics["offload_refusals_total/route"] > 0
			})
			if err := s.RelayToPeer.Lose(peer, false); err != nil {
				t.Fatal(err)
			}
		}},
		{"the way to the peer takes less", func(t *testing.T, s *spaced, l *line) {
			if err := s.RelayToPeer.SetMTU(1400); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(change.name, func(t *testing.T) {
			t.Parallel()
			s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
			l := s.line(t, offloadtest.IPv4)
			s.inKernel(t, l)
			traffic := l.stream(t, 200)
			change.do(t, s, l)
			s.untilReport(t, "in the kernel again", func(r relay.SpaceReport) bool {
				before := r
				time.Sleep(100 * time.Millisecond)
				d := kernelDelta(before, s.report(t))
				return r.Path.InKernel == 1 && d["up"] > 0 && d["down"] > 0
			})
			sent, lost := traffic.end(t)
			t.Logf("sent %v, lost %v", sent, lost)
			for _, way := range both {
				l.passes(t, way, "after the change")
			}
			if change.name == "neighbours are forgotten" && lost[0]+lost[1] > 0 {
				t.Errorf("lost %v", lost)
			}
		})
	}
}

// More changes than the kernel keeps for who does not read, as in a storm of routes: what
// comes then is followed as before, and not only when the relay looks by itself.
func TestKernelFollowsTheNetworkAfterAStorm(t *testing.T) {
	offloadtest.NeedRoot(t)
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{DataPath: "ebpf"})
	l := s.line(t, offloadtest.IPv4)
	s.inKernel(t, l)
	if err := unix.Kill(s.child.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	elsewhere := netip.MustParsePrefix("203.0.113.0/24")
	for range 5000 {
		for _, lost := range []bool{true, false} {
			if err := s.RelayToPeer.Lose(elsewhere, lost); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := unix.Kill(s.child.PID, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	time.Sleep(7 * time.Second) // it has heard that it missed some, and looked
	peer := netip.PrefixFrom(s.Peer.Four, 32)
	if err := s.RelayToPeer.Lose(peer, true); err != nil {
		t.Fatal(err)
	}
	l.up(t, []byte("the way is looked for again"))
	s.untilReport(t, "out of the kernel", func(r relay.SpaceReport) bool { return r.Path.InKernel == 0 && r.Entries == 0 })
}
