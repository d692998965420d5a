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
	relay  netip.AddrPort // what peers see
	port   uint16
	opened time.Time
	close  func() error // closes the relay socket, which ends the allocation

	media atomic.Int64 // when it last carried media, in ns since 1970; noted while the relay drains

	// Guarded by table.mu.
	client      client // none before the library has announced it
	permissions map[netip.Addr]struct{}
	channels    map[uint16]struct{}
}

// table knows the allocations that exist. It counts sockets, not requests: an
// allocation counts from when its relay socket is open until that is closed.
// The TURN library calls it under its own locks, so that nothing here may wait.
type table struct {
	// Static after newTable.
	quotas  Quotas
	metrics *metrics

	mu sync.RWMutex
	// Guarded by mu.
	byRelay  map[netip.AddrPort]*allocation
	byClient map[client]*allocation
	byUser   map[string]int
	bySource map[netip.Addr]int
	running  int           // allocations whose end the library has not yet announced
	ended    chan struct{} // closed, and replaced, when one ends

	draining atomic.Bool // no new allocation is opened
	ending   atomic.Bool // the server ends, and the library forgets nothing by itself
}

// Why an allocation is not opened.
var (
	errQuotaUser   = errors.New("the user has all allocations that one may have")
	errQuotaSource = errors.New("the source has all allocations that one may have")
	errQuotaTotal  = errors.New("the relay has all allocations that it may have")
	errDraining    = errors.New("the relay drains")
)

func newTable(q Quotas, m *metrics) *table {
	return &table{
		quotas:   q,
		metrics:  m,
		byRelay:  make(map[netip.AddrPort]*allocation),
		byClient: make(map[client]*allocation),
		byUser:   make(map[string]int),
		bySource: make(map[netip.Addr]int),
		ended:    make(chan struct{}),
	}
}

// room reports whether a client may open one more allocation. Requests that
// race may all hear yes; open and announce then stop them.
func (t *table) room(owner identity, from netip.Addr) error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.bySource[source(from)] >= t.quotas.AllocationsPerSource {
		return errQuotaSource
	}
	return t.roomFor(owner)
}

func (t *table) roomFor(owner identity) error {
	switch {
	case len(t.byRelay) >= t.quotas.Allocations:
		return errQuotaTotal
	case t.byUser[owner.user] >= t.quotas.AllocationsPerUser:
		return errQuotaUser
	}
	return nil
}

// open adds an allocation whose relay socket is open, or says which quota it
// would exceed.
func (t *table) open(a *allocation) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.draining.Load() {
		return errDraining
	}
	if err := t.roomFor(a.owner); err != nil {
		return err
	}
	t.byRelay[a.relay] = a
	t.byUser[a.owner.user]++
	return nil
}

// announce is called when the library has opened an allocation for a client. It
// reports false when the source has too many; the allocation must then be closed.
func (t *table) announce(relay netip.AddrPort, c client) (a *allocation, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running++
	a = t.byRelay[relay]
	if a == nil {
		return nil, true // closed already
	}
	t.metrics.opened(c.over)
	a.client = c
	t.byClient[c] = a
	from := source(c.addr.Addr())
	t.bySource[from]++
	return a, t.bySource[from] <= t.quotas.AllocationsPerSource
}

// remove is called when a relay socket was closed.
func (t *table) remove(a *allocation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byRelay, a.relay)
	decrement(t.byUser, a.owner.user)
	if a.client == (client{}) {
		return
	}
	decrement(t.bySource, source(a.client.addr.Addr()))
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

// mayPermit reports whether a may have a permission for peer: it has it, or
// less than all.
func (t *table) mayPermit(a *allocation, peer netip.Addr) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, has := a.permissions[peer]
	return has || len(a.permissions) < t.quotas.Permissions
}

// mayPermitAll is mayPermit for peers that are asked for at once.
func (t *table) mayPermitAll(a *allocation, peers []netip.Addr) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	wanted := make(map[netip.Addr]struct{}, len(peers))
	for _, p := range peers {
		if _, has := a.permissions[p]; !has {
			wanted[p] = struct{}{}
		}
	}
	return len(wanted) == 0 || len(a.permissions)+len(wanted) <= t.quotas.Permissions
}

// mayBind is mayPermit for a channel.
func (t *table) mayBind(a *allocation, channel uint16) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, has := a.channels[channel]
	return has || len(a.channels) < t.quotas.Channels
}

func (t *table) setPermission(c client, peer netip.Addr, has bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.byClient[c]; a != nil {
		set(&a.permissions, peer, has)
	}
}

func (t *table) setChannel(c client, channel uint16, has bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.byClient[c]; a != nil {
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
