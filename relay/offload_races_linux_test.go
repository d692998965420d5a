package relay_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"switchboard/relay"
	"switchboard/relay/internal/offloadtest"
)

var offloadRaces = flag.Duration("offload-races", 15*time.Second, "how long TestOffloadRaces races")

// What the races are run with. Lifetimes are short, so that much expires.
const (
	raceUsers    = 4
	raceCallers  = 6 // of each user, who may have fewer allocations
	raceQuota    = 5 // one of which is held throughout, so that the user's meter is the same
	racePeers    = 12
	racePorts    = 40 // few, so that ports are had again while peers still send to them
	racePermits  = 2 * time.Second
	raceChannels = 3 * time.Second
	raceLasts    = 4 * time.Second
	raceSlack    = 1500 * time.Millisecond // by which a busy machine's timers may be late
	raceOwnRate  = 2                       // Mbit/s of an allocation
	raceUserRate = 5
	raceAllRate  = 14
)

// raceFlow is a channel, as it was bound once. Its packets carry its number.
type raceFlow struct {
	// Static once it is known.
	id      uint64
	caller  *raceCaller
	channel uint16
	peer    *racePeer
	call    *raceCall
	relayed netip.AddrPort

	// When nothing that is sent later may come any more, each way; 0 while it may.
	ended [2]atomic.Int64
}

// raceCall is an allocation, as it was opened once.
type raceCall struct {
	caller *raceCaller
	bound  sync.Map // the peer of each channel
	began  time.Duration
	bytes  [2]atomic.Int64 // that came, each way
	last   [2]atomic.Int64 // when, in ns since the races began
}

type racePeer struct {
	conn *net.UDPConn
	at   netip.AddrPort
}

// raceCaller is a client that opens and ends allocations on one socket.
type raceCaller struct {
	r      *races
	number int
	family offloadtest.Family
	user   int
	greedy bool
	client *offloadtest.Client
	random *rand.Rand
	next   uint16 // channel
}

// races are all of them.
type races struct {
	// Static once they have begun.
	t     *testing.T
	s     *spaced
	began time.Time
	peers map[offloadtest.Family][]*racePeer

	flows   sync.Map // by number
	number  atomic.Uint64
	holders sync.Map // the call that a relayed address was given to last

	sent, heard, heardBytes [2]atomic.Int64
	users                   [raceUsers][2]atomic.Int64 // bytes that came
	late                    atomic.Int64               // came to the next flow of the same channel
	reused                  atomic.Int64               // came to the next allocation at the same relayed address
	indications             atomic.Int64               // of what came to clients, those in no channel
	done                    [raceEnds]atomic.Int64
	refused, switches       atomic.Int64
	wrong                   atomic.Int64
}

func (r *races) now() time.Duration { return time.Since(r.began) }

// fail reports what must not be, the first few times.
func (r *races) fail(format string, args ...any) {
	if r.wrong.Add(1) <= 20 {
		r.t.Errorf(format, args...)
	}
}

// A packet of the races: no STUN, the way, the number of the flow, when it was sent.
const raceHeader = 1 + 1 + 8 + 8

func (r *races) packet(b []byte, f *raceFlow, way int) []byte {
	b[0], b[1] = 0x80, byte(way)
	binary.BigEndian.PutUint64(b[2:], f.id)
	binary.BigEndian.PutUint64(b[10:], uint64(r.now()))
	return b
}

// read returns the flow of a packet, and when it was sent.
func (r *races) read(b []byte, way int) (f *raceFlow, sent int64) {
	if len(b) < raceHeader || b[0] != 0x80 || b[1] != byte(way) {
		r.fail("%s: %d bytes came that nobody sent", both[way], len(b))
		return nil, 0
	}
	v, ok := r.flows.Load(binary.BigEndian.Uint64(b[2:]))
	if !ok {
		r.fail("%s: a packet of no flow", both[way])
		return nil, 0
	}
	return v.(*raceFlow), int64(binary.BigEndian.Uint64(b[10:]))
}

// came counts a packet, which must not have been sent after the end of its flow.
func (r *races) came(f *raceFlow, way, bytes int, sent int64) {
	r.heard[way].Add(1)
	r.heardBytes[way].Add(int64(bytes))
	f.call.bytes[way].Add(int64(bytes))
	f.call.last[way].Store(int64(r.now()))
	r.users[f.caller.user][way].Add(int64(bytes))
	if end := f.ended[way].Load(); end != 0 && sent > end {
		r.fail("%s: a packet came that was sent %v after the end", both[way], time.Duration(sent-end))
	}
}

// hear reads what comes to a peer, until its socket is closed.
func (r *races) hear(p *racePeer) {
	b := make([]byte, 2048)
	for {
		n, from, err := p.conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // such as that a relayed address is no more
		}
		f, sent := r.read(b[:n], 0)
		if f == nil {
			continue
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if f.peer != p || f.relayed != from {
			r.astray(f, 0, sent, fmt.Sprintf("of flow %d, from %v to %v, came from %v to %v", f.id, f.relayed, f.peer.at, from, p.at))
		}
		r.came(f, 0, n, sent)
	}
}

// astray is a packet that came to another flow than its own: it must have been sent before
// the end of its own, and that have gone.
func (r *races) astray(f *raceFlow, way int, sent int64, what string) {
	if end := f.ended[way].Load(); end != 0 && sent <= end {
		r.late.Add(1)
		return
	}
	r.fail("%s: a packet %s, sent %v ago; its end is %v", both[way], what, r.now()-time.Duration(sent), time.Duration(f.ended[way].Load()))
}

// data is what comes to a client.
func (c *raceCaller) data(channel uint16, b []byte) {
	f, sent := c.r.read(b, 1)
	if f == nil {
		return
	}
	if channel == 0 {
		c.r.indications.Add(1)
	}
	if c.isNext(f, channel) {
		c.r.reused.Add(1)
		c.r.heard[1].Add(1)
		c.r.heardBytes[1].Add(int64(len(b)))
		c.r.users[c.user][1].Add(int64(len(b)))
		return
	}
	if f.caller != c || channel != 0 && f.channel != channel {
		c.r.astray(f, 1, sent, fmt.Sprintf("of caller %d's channel %#x came to caller %d's %#x", f.caller.number, f.channel, c.number, channel))
	}
	c.r.came(f, 1, len(b), sent)
}

// isNext reports whether the relayed address that a flow had is now that of one of the
// caller's, to which what the peer still sends there comes, if the caller has allowed the
// peer's address (RFC 8656 section 11.3): by a channel if one is bound to that peer.
func (c *raceCaller) isNext(f *raceFlow, channel uint16) bool {
	v, ok := c.r.holders.Load(f.relayed)
	if !ok {
		return false
	}
	now := v.(*raceCall)
	if now == f.call || now.caller != c {
		return false
	}
	peer, _ := now.bound.Load(channel)
	return channel == 0 || peer == f.peer
}

// pour sends packets of flows both ways, of a size and as many a second, until it is told to
// stop.
func (c *raceCaller) pour(flows []*raceFlow, size, perSecond int, stop <-chan struct{}) {
	var all sync.WaitGroup
	for way := range both {
		all.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			b, began := make([]byte, size), time.Now()
			for i := 0; ; {
				select {
				case <-stop:
					return
				case <-tick.C:
				}
				due := int(time.Since(began).Seconds() * float64(perSecond))
				for i = max(i, due-64); i < due; i++ { // what a busy machine is behind is not made up for
					c.send(flows[i%len(flows)], way, b)
				}
			}
		})
	}
	all.Wait()
}

func (c *raceCaller) send(f *raceFlow, way int, b []byte) {
	c.r.packet(b, f, way)
	var err error
	if way == 0 {
		err = c.client.Send(f.channel, b, 0)
	} else {
		_, err = f.peer.conn.WriteToUDPAddrPort(b, f.relayed)
	}
	if err == nil {
		c.r.sent[way].Add(1)
	}
}

// How a call of the races ends.
const (
	raceRefreshed = iota // to 0
	raceReopened         // to 0, and the same channels are bound on the same sockets at once
	raceLapsed           // permissions, then channels
	raceExpired          // the allocation, whose channels are kept
	raceEnds
)

var raceEndNames = [raceEnds]string{"refreshed to 0", "opened anew at once", "channels lapsed", "allocations expired"}

// call opens an allocation, has packets go through it, and ends it. It returns early when
// there is no room for it.
func (c *raceCaller) call(ctx context.Context, channels []uint16) (again []uint16) {
	call := &raceCall{caller: c, began: c.r.now()}
	if err := c.client.Allocate(ctx, c.family); err != nil {
		c.noRoom(ctx, err)
		return nil
	}
	c.r.holders.Store(c.client.Relayed(), call)
	if channels == nil {
		for range 1 + c.random.Uint32N(3) {
			channels = append(channels, 0x4000+c.next%0x1000)
			c.next++
		}
	}
	flows := c.bind(ctx, call, channels)
	how := c.random.IntN(raceEnds)
	if how == raceLapsed || how == raceExpired {
		how = c.random.IntN(raceEnds) // more rarely
	}
	stop, size, perSecond := make(chan struct{}), raceHeader+int(c.random.Uint32N(200)), 300
	if c.greedy {
		size, perSecond = 1200, 500
	}
	var pouring sync.WaitGroup
	if len(flows) > 0 {
		pouring.Go(func() { c.pour(flows, size, perSecond, stop) })
	}
	c.talk(ctx, flows)
	switch {
	case len(flows) == 0 || how == raceReopened || how == raceRefreshed && c.random.IntN(2) == 0:
		// Nothing more is sent before the answer.
		close(stop)
		pouring.Wait()
		c.endNow(ctx, flows)
	case how == raceRefreshed:
		c.endNow(ctx, flows)
		time.Sleep(time.Duration(10+c.random.Uint32N(50)) * time.Millisecond)
		close(stop)
	case how == raceLapsed:
		c.lapse(flows)
		close(stop)
	case how == raceExpired:
		c.expire(ctx, flows)
		close(stop)
	}
	pouring.Wait()
	c.r.done[how].Add(1)
	c.r.within(call, 0)
	c.r.within(call, 1)
	if how == raceLapsed { // the allocation may be there still
		c.endNow(ctx, flows)
	}
	if how == raceReopened {
		return channels
	}
	time.Sleep(time.Duration(c.random.Uint32N(100)) * time.Millisecond)
	return nil
}

// noRoom is called when there was no allocation to be had, which may have been for the quota,
// or because there is one: the relay takes a request that comes twice, and late, for a new one.
func (c *raceCaller) noRoom(ctx context.Context, err error) {
	var refused *offloadtest.Refused
	switch {
	case ctx.Err() != nil:
	case errors.As(err, &refused) && refused.Code == 486:
		c.r.refused.Add(1)
		time.Sleep(time.Duration(50+c.random.Uint32N(100)) * time.Millisecond)
	case errors.As(err, &refused) && refused.Code == 437:
		c.endNow(ctx, nil)
	default:
		c.r.fail("caller %d: %v", c.number, err)
	}
}

// bind binds channels to peers, each to another.
func (c *raceCaller) bind(ctx context.Context, call *raceCall, channels []uint16) (flows []*raceFlow) {
	peers := c.r.peers[c.family]
	some := c.random.Perm(len(peers))
	for i, channel := range channels {
		f := &raceFlow{id: c.r.number.Add(1), caller: c, channel: channel, peer: peers[some[i]], call: call, relayed: c.client.Relayed()}
		c.r.flows.Store(f.id, f)
		call.bound.Store(channel, f.peer)
		if err := c.client.Bind(ctx, channel, f.peer.at); err != nil {
			if ctx.Err() == nil && !denied(err) {
				c.r.fail("caller %d: %v", c.number, err)
			}
			continue
		}
		flows = append(flows, f)
	}
	return flows
}

// denied reports whether it was the policy that refused, which changes now and then, or the
// allocation has ended by itself. Where either happens after the relay has looked, it is the
// TURN library that refuses, with 401.
func denied(err error) bool {
	var refused *offloadtest.Refused
	return errors.As(err, &refused) && slices.Contains([]int{401, 403, 437}, refused.Code)
}

// talk keeps an allocation for a while.
func (c *raceCaller) talk(ctx context.Context, flows []*raceFlow) {
	for range c.random.Uint32N(6) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(c.random.Uint32N(300)) * time.Millisecond):
		}
		for _, f := range flows {
			var err error
			if c.random.IntN(2) == 0 {
				err = c.client.Bind(ctx, f.channel, f.peer.at)
			} else {
				err = c.client.Permit(ctx, f.peer.at)
			}
			if err != nil && ctx.Err() == nil && !denied(err) {
				c.r.fail("caller %d: %v", c.number, err)
			}
		}
	}
}

// endNow ends the allocation. When the relay has said so, nothing more may come that is sent
// later.
func (c *raceCaller) endNow(ctx context.Context, flows []*raceFlow) {
	err := c.client.Refresh(ctx, 0)
	if err != nil && ctx.Err() == nil && !denied(err) {
		c.r.fail("caller %d: %v", c.number, err)
	}
	if err == nil || denied(err) { // it may have ended by itself, on a machine that is slow
		c.r.ended(flows, both...)
	}
}

// ended notes that flows have ended.
func (r *races) ended(flows []*raceFlow, ways ...string) {
	now := int64(r.now())
	for _, f := range flows {
		for _, way := range ways {
			f.ended[slices.Index(both, way)].CompareAndSwap(0, now)
		}
	}
}

// lapse refreshes nothing until permissions and then channels are over.
func (c *raceCaller) lapse(flows []*raceFlow) {
	time.Sleep(racePermits + raceSlack)
	c.r.ended(flows, "down")
	time.Sleep(raceChannels - racePermits)
	c.r.ended(flows, "up")
	time.Sleep(100 * time.Millisecond)
}

// expire refreshes channels alone until the allocation is over.
func (c *raceCaller) expire(ctx context.Context, flows []*raceFlow) {
	end := time.After(raceLasts + raceSlack)
	tick := time.NewTicker(raceChannels / 4)
	defer tick.Stop()
	for {
		select {
		case <-end:
			c.r.ended(flows, both...)
			time.Sleep(100 * time.Millisecond)
			return
		case <-tick.C:
		}
		for _, f := range flows {
			if err := c.client.Bind(ctx, f.channel, f.peer.at); err != nil && ctx.Err() == nil && !denied(err) {
				c.r.fail("caller %d: %v", c.number, err)
			}
		}
	}
}

// most is how many bytes may come in a time at a rate in Mbit/s, beyond which there is a
// little where a meter moves to the kernel or back.
func most(mbits int, d time.Duration) int64 {
	n := float64(mbits) * 1e6 / 8 * (d.Seconds() + 0.5)
	return int64(n*1.02) + 10*1200
}

// within fails if more came than an allocation may carry.
func (r *races) within(call *raceCall, way int) {
	took := max(time.Duration(call.last[way].Load())-call.began, 0) // where nothing came
	if got, may := call.bytes[way].Load(), most(raceOwnRate, took); got > may {
		r.fail("%s: %d bytes came of an allocation that may have %d in that time", both[way], got, may)
	}
}

// run has a caller call until ctx ends.
func (c *raceCaller) run(ctx context.Context) {
	var channels []uint16
	for ctx.Err() == nil {
		channels = c.call(ctx, channels)
	}
	// What is left is ended with all the patience of the world.
	last, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.client.Refresh(last, 0); err != nil && !denied(err) {
		c.r.fail("caller %d: %v", c.number, err)
	}
}

// disturb switches data paths and changes the policy until ctx ends.
func (r *races) disturb(ctx context.Context, own []netip.Addr) {
	random := rand.New(rand.NewPCG(1, 2))
	extra := netip.MustParseAddr("10.71.2.200")
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Duration(100+random.Uint32N(600)) * time.Millisecond):
		}
		o := relay.SpaceOrder{}
		switch random.IntN(4) {
		case 0, 1:
			o.DataPath = "ebpf"
			if i%2 == 1 {
				o.DataPath = "user"
			}
			r.switches.Add(1)
		case 2:
			o.Own = append(slices.Clone(own), extra) // a change that changes nothing for anybody
		case 3:
			// A moment in which half of the peers are the machine's own.
			o.Own = append(slices.Clone(own), r.s.Peer.Six)
			if _, err := r.s.child.Tell(o); err != nil {
				r.fail("%v", err)
			}
			o.Own = own
		}
		if _, err := r.s.child.Tell(o); err != nil {
			r.fail("%v", err)
		}
	}
}

// hold keeps an allocation of a user for as long as the races last.
func (r *races) hold(t *testing.T, user int) (end func()) {
	t.Helper()
	c := offloadtest.NewClient(r.s.Client.ListenUDP(t, r.s.Client.At(offloadtest.IPv4, 0)), r.s.RelayToClient.At(offloadtest.IPv4, 3478),
		r.s.login(t, fmt.Sprint("user", user)), func(uint16, []byte) {})
	t.Cleanup(c.Close)
	if err := errors.Join(c.Allocate(brief(t), offloadtest.IPv4), c.Refresh(brief(t), 59*time.Minute)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := c.Refresh(brief(t), 0); err != nil {
			t.Error(err)
		}
	}
}

// kernelWarnings are the lines in which the kernel complains, as far as that is readable.
func kernelWarnings() (lines []string) {
	b := make([]byte, 1<<20)
	n, err := unix.Klogctl(3 /* SYSLOG_ACTION_READ_ALL */, b)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b[:n])) {
		if strings.Contains(line, "WARNING:") || strings.Contains(line, "BUG:") || strings.Contains(line, "refcount") || strings.Contains(line, "Call Trace") {
			lines = append(lines, line)
		}
	}
	return lines
}

// Channels come and go, lapse and expire, are refreshed and bound anew, quotas and bandwidth
// are exceeded, the data path is switched and the policy changed, all with packets on the way:
// each packet comes to whom it is for, nothing comes after the end, nothing beyond the
// bandwidth, what is counted agrees, and nothing is left in the end.
func TestOffloadRaces(t *testing.T) {
	offloadtest.NeedRoot(t)
	warned := kernelWarnings()
	s := startSpaced(t, offloadtest.Options{}, relay.SpaceConfig{
		DataPath: "ebpf", Allocation: raceLasts, Permission: racePermits, Channel: raceChannels,
		Bandwidth:          relay.Bandwidth{PerAllocation: raceOwnRate, PerUser: raceUserRate, Relay: raceAllRate},
		AllocationsPerUser: raceQuota, Allocations: racePorts, Ports: relay.PortRange{Min: 50000, Max: 50000 + racePorts - 1},
	})
	s.NoBadSums(t)
	r := &races{t: t, s: s, began: time.Now(), peers: make(map[offloadtest.Family][]*racePeer)}
	// One call, so that all is there that stays.
	l := s.line(t, offloadtest.IPv4)
	s.inKernel(t, l)
	if err := l.client.Refresh(brief(t), 0); err != nil {
		t.Fatal(err)
	}
	s.untilReport(t, "empty at the beginning", func(r relay.SpaceReport) bool { return r.Allocations == 0 && r.Entries == 0 })
	before := s.atRest(t)

	var hearing, racing sync.WaitGroup
	for _, f := range offloadtest.Families {
		for range racePeers {
			conn := s.Peer.ListenUDP(t, s.Peer.At(f, 0))
			p := &racePeer{conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()}
			r.peers[f] = append(r.peers[f], p)
			hearing.Go(func() { r.hear(p) })
		}
	}
	var ends []func()
	for user := range raceUsers {
		ends = append(ends, r.hold(t, user))
	}
	counted := make(map[string]offloadtest.Counters)
	for name, space := range map[string]*offloadtest.Space{"client": s.Client.Space, "relay": s.Relay, "peer": s.Peer.Space} {
		counted[name], _ = space.Counters()
	}
	ctx, cancel := context.WithTimeout(context.Background(), *offloadRaces)
	defer cancel()
	own := []netip.Addr{s.RelayToClient.Four, s.RelayToClient.Six, s.RelayToPeer.Four, s.RelayToPeer.Six}
	for i := range raceUsers * raceCallers {
		c := &raceCaller{
			r: r, number: i, user: i % raceUsers, family: offloadtest.Families[i/raceUsers%2], greedy: i%3 == 0,
			random: rand.New(rand.NewPCG(uint64(i), 7)), next: uint16(i) * 0x100,
		}
		c.client = offloadtest.NewClient(s.Client.ListenUDP(t, s.Client.At(c.family, 0)), s.RelayToClient.At(c.family, 3478), s.login(t, fmt.Sprint("user", c.user)), c.data)
		defer c.client.Close()
		racing.Go(func() { c.run(ctx) })
	}
	racing.Go(func() { r.disturb(ctx, own) })
	racing.Wait()
	took := r.now()
	for _, end := range ends {
		end()
	}
	if _, err := s.child.Tell(relay.SpaceOrder{DataPath: "ebpf"}); err != nil {
		t.Error(err)
	}
	s.untilReport(t, "maps empty after the last allocation", func(r relay.SpaceReport) bool {
		return r.Allocations == 0 && r.Entries == 0 && r.Flows == 0
	})
	after := s.atRest(t)
	for end := time.Now().Add(patience); after.Goroutines > before.Goroutines || after.Files > before.Files; {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines and %d files at the beginning, %d and %d at the end", before.Goroutines, before.Files, after.Goroutines, after.Files)
		}
		after = s.atRest(t)
	}
	r.settle()
	for f := range r.peers {
		for _, p := range r.peers[f] {
			p.conn.Close()
		}
	}
	hearing.Wait()
	r.judge(before, after, counted, took)
	if now := kernelWarnings(); len(now) > len(warned) {
		t.Errorf("the kernel complains: %q", now[len(warned):])
	}
}

// settle waits until nothing comes any more.
func (r *races) settle() {
	for last := int64(-1); last != r.heard[0].Load()+r.heard[1].Load(); {
		last = r.heard[0].Load() + r.heard[1].Load()
		time.Sleep(200 * time.Millisecond)
	}
}

// judge compares what the relay has counted with what came, and says how it was.
func (r *races) judge(before, after relay.SpaceReport, counted map[string]offloadtest.Counters, took time.Duration) {
	t := r.t
	d := func(name string) int64 { return int64(after.Metrics[name] - before.Metrics[name]) }
	kernel := kernelDelta(before, after)
	lost := make(map[string]offloadtest.Counters)
	for name, space := range map[string]*offloadtest.Space{"client": r.s.Client.Space, "relay": r.s.Relay, "peer": r.s.Peer.Space} {
		c, err := space.Counters()
		if err != nil {
			t.Fatal(err)
		}
		lost[name] = c.Since(counted[name])
	}
	for i := range raceEnds {
		t.Logf("%d calls: %s", r.done[i].Load(), raceEndNames[i])
	}
	t.Logf("%d allocations refused for the quota, %d switches of the data path, %d packets late at the next flow of a channel, %d at the next allocation of a port",
		r.refused.Load(), r.switches.Load(), r.late.Load(), r.reused.Load())
	for i, way := range both {
		relayed, bytes := d("packets_total/"+way), d("bytes_total/"+way)
		// The relay counts what it gives to the kernel; receivers may lose it.
		end := []string{"peer", "client"}[i]
		full := int64(lost[end]["Udp.RcvbufErrors"] + lost[end]["Udp6.RcvbufErrors"] + lost[end]["Udp.NoPorts"] + lost[end]["Udp6.NoPorts"])
		t.Logf("%s: %d sent, %d relayed, %d of them by the kernel (%.0f%%), %d came, %d lost where they came to; %.1f Mbit/s",
			way, r.sent[i].Load(), relayed, kernel[way], 100*float64(kernel[way])/float64(max(relayed, 1)), r.heard[i].Load(), full,
			float64(r.heardBytes[i].Load())*8/1e6/took.Seconds())
		if missing := relayed - r.heard[i].Load() - full; missing != 0 {
			t.Errorf("%s: the relay has counted %d packets, and %d came: %d differ", way, relayed, r.heard[i].Load(), missing)
		}
		// The length of a Data indication is told from that of the message, to 16 bytes; what
		// could not be sent counts, too.
		off, may := max(bytes-r.heardBytes[i].Load(), r.heardBytes[i].Load()-bytes), 16*int64(i)*r.indications.Load()+1200*d("drops_total/send")
		if full == 0 && off > may {
			t.Errorf("%s: the relay has counted %d bytes, and %d came", way, bytes, r.heardBytes[i].Load())
		}
		if got, may := r.heardBytes[i].Load(), most(raceAllRate, took); got > may {
			t.Errorf("%s: %d bytes came, and the relay may carry %d", way, got, may)
		}
		for user := range r.users {
			if got, may := r.users[user][i].Load(), most(raceUserRate, took); got > may {
				t.Errorf("%s: %d bytes came of a user, who may have %d", way, got, may)
			}
		}
		if kernel[way] == 0 {
			t.Errorf("%s: the kernel relayed nothing of %d", way, relayed)
		}
	}
	dropped := int64(lost["relay"]["Udp.RcvbufErrors"] + lost["relay"]["Udp6.RcvbufErrors"] + lost["relay"]["Udp.NoPorts"] + lost["relay"]["Udp6.NoPorts"])
	for name := range after.Metrics {
		if strings.HasPrefix(name, "drops_total/") || strings.HasPrefix(name, "denied_peers_total/") {
			dropped += d(name)
		}
	}
	// What waits in a relay's socket that is closed is lost.
	sent, relayed := r.sent[0].Load()+r.sent[1].Load(), d("packets_total/up")+d("packets_total/down")
	t.Logf("of %d sent %d were relayed and %d dropped for a reason that was counted; %d not", sent, relayed, dropped, sent-relayed-dropped)
	if unknown := sent - relayed - dropped; unknown < -sent/100 || unknown > sent/100 {
		t.Error("too many packets were lost without a reason")
	}
	t.Logf("left by the kernel: %v", leftDelta(before, after))
	t.Logf("differences: %d; dropped for the bandwidth: %d, no channel: %d, no permission: %d, busy: %d, send: %d", d("offload_differences_total"),
		d("drops_total/bandwidth"), d("drops_total/no_channel"), d("drops_total/no_permission"), d("drops_total/busy"), d("drops_total/send"))
	t.Logf("goroutines %d, then %d; files %d, then %d", before.Goroutines, after.Goroutines, before.Files, after.Files)
	t.Logf("kernel, client: %v\npeer: %v\nrelay: %v", lost["client"], lost["peer"], lost["relay"])
	if d("offload_differences_total") != 0 {
		t.Error("the kernel had other entries than it was given")
	}
	// A short race on a busy machine may not come to that.
	if *offloadRaces >= time.Minute && (d("drops_total/bandwidth") == 0 || r.refused.Load() == 0 || r.switches.Load() == 0) {
		t.Error("nobody exceeded the bandwidth, or the quota, or nothing was switched")
	}
}
