package relay

import (
	"hash/maphash"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"switchboard/relay/internal/datagram"
	"switchboard/relay/internal/offload"
)

// flow is a channel of a client over UDP (RFC 8656 section 12): what the client sends in
// it goes to the peer, and what the peer sends comes back in it. Its packets do not pass
// through the TURN library.
type flow struct {
	// Static.
	client  netip.AddrPort
	channel uint16
	peer    netip.AddrPort // as the client knows it
	at      netip.AddrPort // as the relay's socket does
	relay   *relayConn
	front   *packetGuard // the listener that the client's packets come in on
	apart   bool         // the library relays it: what it does with such a peer is for few to know
	// Where packets go, in the form of the sockets that send them.
	toPeer, toClient *datagram.Address

	// judged is in which state of the policy packets to the peer were allowed; [policy.judge] knows.
	judged atomic.Uint64
	// permitted says that there is a permission for the peer, without which the client
	// does not hear it (RFC 8656 section 11.3).
	permitted atomic.Bool

	asked     atomic.Bool                  // the kernel was asked to relay it, which it may have refused
	offloaded atomic.Pointer[offload.Flow] // what the kernel relays, or nil
	gone      atomic.Bool                  // the channel is no more
}

// flows are all channels of clients over UDP. Who relays a packet finds its flow without
// a lock; they are changed as the library binds channels and lets go of them, and what
// follows the changes may relay packets elsewhere, such as in the kernel.
type flows struct {
	seed      maphash.Seed
	count     *atomic.Int64             // how many there are
	offloader atomic.Pointer[offloader] // nil where the kernel relays nothing
	shards    [256]flowShard            // by client
}

type flowShard struct {
	mu  sync.Mutex // held by who changes it
	all atomic.Pointer[map[flowKey]*flow]
}

type flowKey struct {
	client  netip.AddrPort
	channel uint16
}

func newFlows(count *atomic.Int64) *flows {
	f := &flows{seed: maphash.MakeSeed(), count: count}
	for i := range f.shards {
		f.shards[i].all.Store(&map[flowKey]*flow{})
	}
	return f
}

func (f *flows) shard(client netip.AddrPort) *flowShard {
	return &f.shards[byte(maphash.Comparable(f.seed, client))]
}

// up returns the flow of a client's channel, or nil.
func (f *flows) up(client netip.AddrPort, channel uint16) *flow {
	return (*f.shard(client).all.Load())[flowKey{client, channel}]
}

// down returns the flow in which what comes from a peer, as the relay's socket knows it,
// goes to the client, or nil.
func (f *flows) down(c *relayConn, from netip.AddrPort) *flow {
	list := c.flows.Load()
	if list == nil {
		return nil
	}
	for _, x := range *list { // rarely more than two
		if x.at == from {
			return x
		}
	}
	return nil
}

// permit notes that an allocation has a permission for an address, or no longer.
func (f *flows) permit(a *allocation, peer netip.Addr, has bool) {
	if a == nil {
		return
	}
	list := a.conn.flows.Load()
	if list == nil {
		return
	}
	for _, x := range *list {
		if x.peer.Addr() == peer {
			x.permit(has)
		}
	}
}

// install adds a flow, in the place of one that is there for the same channel: that is of
// an allocation which has ended. All flows of a client change under one lock.
func (f *flows) install(x *flow) {
	s := f.shard(x.client)
	s.mu.Lock()
	defer s.mu.Unlock()
	next, key := maps.Clone(*s.all.Load()), flowKey{x.client, x.channel}
	if old := next[key]; old != nil {
		f.leave(old)
	}
	next[key] = x
	s.all.Store(&next)
	list := []*flow{x}
	if others := x.relay.flows.Load(); others != nil {
		list = append(slices.Clone(*others), x)
	}
	x.relay.flows.Store(&list)
	f.count.Add(1)
}

// remove removes the flow of a client's channel, if it is that of the allocation with
// this relayed address.
func (f *flows) remove(client netip.AddrPort, channel uint16, relayed netip.AddrPort) {
	s := f.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := flowKey{client, channel}
	x := (*s.all.Load())[key]
	if x == nil || x.relay.allocation.relay != relayed {
		return
	}
	next := maps.Clone(*s.all.Load())
	delete(next, key)
	s.all.Store(&next)
	f.leave(x)
}

// leave takes a flow from its relay's socket.
func (f *flows) leave(x *flow) {
	list := slices.DeleteFunc(slices.Clone(*x.relay.flows.Load()), func(other *flow) bool { return other == x })
	x.relay.flows.Store(&list)
	f.count.Add(-1)
	x.gone.Store(true)
	if o := f.offloader.Load(); o != nil {
		o.leave(x)
	}
}

// offer has the kernel relay a flow that a packet has gone through, if it does such things.
func (f *flows) offer(x *flow) {
	if x.asked.Load() {
		return
	}
	if o := f.offloader.Load(); o != nil {
		o.ask(x)
	}
}

// permit notes that there is a permission for the peer, or no longer. What the kernel
// relays of it ends at once; it goes on when that is next renewed.
func (x *flow) permit(has bool) {
	x.permitted.Store(has)
	if k := x.offloaded.Load(); k != nil && !has && heedsPermissions {
		k.EndDown()
	}
}
