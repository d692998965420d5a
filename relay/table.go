package relay

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// client is one side of a 5-tuple (RFC 8656 section 2.2); the transport stands
// for the other.
type client struct {
	addr netip.AddrPort
	over transport
}

// allocation is what the relay keeps beside the TURN library's own allocation.
type allocation struct {
	// Static after table.open.
	owner  identity
	client client
	relay  netip.AddrPort // what peers see
	port   uint16
	opened time.Time
	close  func() error // closes the relay socket, which ends the allocation
	conn   *relayConn

	media atomic.Int64 // when it last carried media, in ns since 1970; noted while the relay drains

	// Guarded by table.mu.
	announced   bool // by the library
	permissions map[netip.Addr]struct{}
	channels    map[uint16]struct{}
	newPeers    int64 // when as many new peers as may be at once may be again, in ns since 1970
}

// table knows the allocations that exist. It counts sockets, not requests: an
// allocation counts from the moment before its relay socket is opened, when a
// place is reserved for it, until that is closed. The TURN library calls it under
// its own locks, so that nothing here may wait.
type table struct {
	// Static after newTable.
	quotas   Quotas
	opens    rate // of allocations of a user
	newPeers rate // of an allocation
	metrics  *metrics

	mu sync.RWMutex
	// Guarded by mu. What is reserved is counted in byUser, byCall and bySource.
	byRelay  map[netip.AddrPort]*allocation
	byClient map[client]*allocation
	reserved map[client]identity
	byUser   map[string]int
	byCall   map[string]int
	bySource map[netip.Addr]int
	opening  map[string]int64 // by user: when as many as may be at once may be opened again, in ns since 1970
	swept    time.Time        // when opening was last swept
	running  int              // allocations whose end the library has not yet announced
	ended    chan struct{}    // closed, and replaced, when one ends

	draining atomic.Bool // no new allocation is opened
	ending   atomic.Bool // the server ends, and the library forgets nothing by itself
}

// Why an allocation is not opened.
var (
	errQuotaUser   = errors.New("the user has all allocations that one may have")
	errQuotaCall   = errors.New("the call has all allocations that one may have")
	errQuotaSource = errors.New("the source has all allocations that one may have")
	errQuotaTotal  = errors.New("the relay has all allocations that it may have")
	errDraining    = errors.New("the relay drains")
)

const (
	// opensAtOnce is for how long a user's allocations may be opened ahead of the
	// rate: a browser opens all of a call's in one moment.
	opensAtOnce = 5 * time.Second
	// newPeersAtOnce is how many new peers an allocation may have in one moment. A
	// browser has a permission for each candidate of the other side.
	newPeersAtOnce = 64
	// maxOpening bounds what is remembered of users who open allocations. Beyond it
	// none is limited in speed; the quotas hold.
	maxOpening = 1 << 16
)

func newTable(q Quotas, l Limits, m *metrics) *table {
	return &table{
		quotas:   q,
		opens:    perSecond(l.AllocationsPerUserPerSecond, opensAtOnce),
		newPeers: perSecond(l.NewPeersPerSecond, newPeersAtOnce*time.Second/time.Duration(l.NewPeersPerSecond)),
		metrics:  m,
		byRelay:  make(map[netip.AddrPort]*allocation),
		byClient: make(map[client]*allocation),
		reserved: make(map[client]identity),
		byUser:   make(map[string]int),
		byCall:   make(map[string]int),
		bySource: make(map[netip.Addr]int),
		opening:  make(map[string]int64),
		ended:    make(chan struct{}),
	}
}

// room reports whether a client may open one more allocation. Requests that
// race may all hear yes; reserve then stops them.
func (t *table) room(owner identity, c client) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.roomFor(owner, c)
}

func (t *table) roomFor(owner identity, c client) error {
	switch {
	case len(t.byRelay)+len(t.reserved) >= t.quotas.Allocations:
		return errQuotaTotal
	case t.bySource[source(c.addr.Addr())] >= t.quotas.AllocationsPerSource:
		return errQuotaSource
	case t.byUser[owner.user] >= t.quotas.AllocationsPerUser:
		return errQuotaUser
	case t.byCall[owner.call] >= t.quotas.AllocationsPerCall:
		return errQuotaCall
	}
	return nil
}

// reserve keeps a place for an allocation that is about to be opened, or says
// which quota it would exceed. Each client has at most one place.
func (t *table) reserve(owner identity, c client) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancelLocked(c)
	if err := t.roomFor(owner, c); err != nil {
		return err
	}
	t.reserved[c] = owner
	t.byUser[owner.user]++
	t.byCall[owner.call]++
	t.bySource[source(c.addr.Addr())]++
	return nil
}

// cancel gives a place back, if there is one.
func (t *table) cancel(c client) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancelLocked(c)
}

func (t *table) cancelLocked(c client) {
	if owner, ok := t.reserved[c]; ok {
		delete(t.reserved, c)
		t.uncount(owner, c)
	}
}

func (t *table) uncount(owner identity, c client) {
	decrement(t.byUser, owner.user)
	decrement(t.byCall, owner.call)
	decrement(t.bySource, source(c.addr.Addr()))
}

// open adds an allocation whose relay socket is open, in the place that is
// reserved for it. Without one the relay is full.
func (t *table) open(a *allocation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	owner, ok := t.reserved[a.client]
	if !ok || owner != a.owner {
		return errQuotaTotal
	}
	if t.draining.Load() {
		t.cancelLocked(a.client)
		return errDraining
	}
	delete(t.reserved, a.client)
	t.byRelay[a.relay] = a
	return nil
}

// mayOpen reports whether a user may open one more allocation at this moment, and
// counts it.
func (t *table) mayOpen(user string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	next, ok := t.opens.after(t.opening[user], now.UnixNano(), 1)
	if !ok {
		return false
	}
	if len(t.opening) >= maxOpening && now.Sub(t.swept) >= time.Second {
		t.swept = now
		for u, full := range t.opening {
			if full <= now.UnixNano() {
				delete(t.opening, u)
			}
		}
	}
	if _, known := t.opening[user]; known || len(t.opening) < maxOpening {
		t.opening[user] = next
	}
	return true
}

// announce is called when the library has opened an allocation.
func (t *table) announce(relay netip.AddrPort) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running++
	a := t.byRelay[relay]
	if a == nil {
		return // closed already
	}
	t.metrics.opened(a.client.over)
	a.announced = true
	t.byClient[a.client] = a
}

// remove is called when a relay socket was closed.
func (t *table) remove(a *allocation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byRelay, a.relay)
	t.uncount(a.owner, a.client)
	if !a.announced {
		return
	}
	if t.byClient[a.client] == a {
		delete(t.byClient, a.client)
	}
	t.metrics.closed(a.client.over, time.Since(a.opened))
}

// finished is called when the library has announced the end of an allocation.
func (t *table) finished() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	close(t.ended)
	t.ended = make(chan struct{})
}

// wait returns when no allocation is left, or the reason why ctx ended.
func (t *table) wait(ctx context.Context) error {
	for {
		t.mu.RLock()
		left, ended := t.running+len(t.byRelay), t.ended
		t.mu.RUnlock()
		if left == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (t *table) len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.byRelay)
}

// of returns the client's allocation, or nil.
func (t *table) of(c client) *allocation {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byClient[c]
}

// at returns the allocation with a relayed address, or nil.
func (t *table) at(relay netip.AddrPort) *allocation {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.byRelay[relay]
}

// roomForPeers says why an allocation may not have permissions for all of peers,
// or nothing when it may.
func (t *table) roomForPeers(a *allocation, peers []netip.Addr, now time.Time) refusal {
	t.mu.RLock()
	defer t.mu.RUnlock()
	added := make(map[netip.Addr]struct{})
	for _, p := range peers {
		if _, has := a.permissions[p]; !has {
			added[p] = struct{}{}
		}
	}
	if len(added) == 0 {
		return ""
	}
	if len(a.permissions)+len(added) > t.quotas.Permissions {
		return refusedPermissions
	}
	if _, ok := t.newPeers.after(a.newPeers, now.UnixNano(), len(added)); !ok {
		return refusedPeerRate
	}
	return ""
}

// mayPermit is roomForPeers for one, and counts it when it is new.
func (t *table) mayPermit(a *allocation, peer netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, has := a.permissions[peer]; has {
		return true
	}
	next, ok := t.newPeers.after(a.newPeers, now.UnixNano(), 1)
	if !ok || len(a.permissions) >= t.quotas.Permissions {
		return false
	}
	a.newPeers = next
	return true
}

// permits reports whether a peer may send to an allocation (RFC 8656 section 9).
func (t *table) permits(a *allocation, peer netip.Addr) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, has := a.permissions[peer]
	return has
}

// mayBind reports whether a may have a channel: it has it, or less than all.
func (t *table) mayBind(a *allocation, channel uint16) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, has := a.channels[channel]
	return has || len(a.channels) < t.quotas.Channels
}

func (t *table) setPermission(relay netip.AddrPort, peer netip.Addr, has bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.byRelay[relay]; a != nil {
		set(&a.permissions, peer, has)
	}
}

func (t *table) setChannel(relay netip.AddrPort, channel uint16, has bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.byRelay[relay]; a != nil {
		set(&a.channels, channel, has)
	}
}

func set[K comparable](m *map[K]struct{}, k K, has bool) {
	if !has {
		delete(*m, k)
		return
	}
	if *m == nil {
		*m = make(map[K]struct{})
	}
	(*m)[k] = struct{}{}
}

func decrement[K comparable](m map[K]int, k K) {
	if m[k]--; m[k] <= 0 {
		delete(m, k)
	}
}
