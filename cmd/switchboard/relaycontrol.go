package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"switchboard/relay"
	"switchboard/signaling/admin"
	"switchboard/signaling/protocol"
)

// controllable is a relay that operators take out of service and put back, and whose data
// path they choose; a [relay.Server] is one.
type controllable interface {
	Status() relay.Status
	Drain()
	Resume()
	DataPath() relay.DataPath
	SetDataPath(ctx context.Context, to string) (relay.DataPath, error)
}

// relayControl is this process's relay, for operators. It implements
// [admin.RelayControl].
type relayControl struct {
	// Static.
	relay        controllable
	registrar    *registrar // nil where the relay is not made known
	name, region string
	ends         func() bool // the process is about to

	mu    sync.Mutex // held while the relay is drained or put back
	since time.Time  // guarded by mu: when it was first seen to drain
}

// State implements [admin.RelayControl].
func (c *relayControl) State() admin.RelayState {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.relay.Status()
	out := admin.RelayState{Name: c.name, Region: c.region, Allocations: s.Allocations, Max: s.Max, Draining: s.Draining}
	if !s.Draining {
		c.since = time.Time{}
	} else if c.since.IsZero() {
		c.since = time.Now().UTC()
	}
	if since := c.since; !since.IsZero() {
		out.Since = &since
	}
	if c.registrar != nil {
		out.Known = new(c.registrar.speaks.Load())
	}
	return out
}

// Drain implements [admin.RelayControl].
func (c *relayControl) Drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relay.Drain()
}

// Resume implements [admin.RelayControl].
func (c *relayControl) Resume() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ends() {
		return admin.ErrRelayEnds
	}
	c.relay.Resume()
	return nil
}

// DataPath implements [admin.RelayControl].
func (c *relayControl) DataPath() admin.RelayDataPath {
	d := c.relay.DataPath()
	return admin.RelayDataPath{
		Name: c.name, Path: d.Path, Reason: d.Reason, Interfaces: d.Interfaces, Channels: d.Channels, InKernel: d.InKernel,
		KernelPackets: packetsOf(d.Kernel), ProcessPackets: packetsOf(d.Process),
	}
}

func packetsOf(p relay.Packets) admin.Packets {
	return admin.Packets{Up: int64(p.Up), Down: int64(p.Down)}
}

// SetDataPath implements [admin.RelayControl].
func (c *relayControl) SetDataPath(ctx context.Context, to string) error {
	_, err := c.relay.SetDataPath(ctx, to)
	return err
}

// openRelayAdmin puts the operators' API of the relay on the listener for operators,
// unless admin.listen turns it off. A relay that cannot keep a token of its own making
// serves all the same.
func (n *node) openRelayAdmin() error {
	if n.relay == nil || n.config.Admin.Listen == "" {
		return nil
	}
	tokens, err := n.adminTokens()
	if err != nil {
		err = fmt.Errorf("admin.token_file: %w", err)
		if n.config.Admin.TokenFile != "" || n.config.Has(RoleSignaling) {
			return err
		}
		n.log.Warn("no token for operators: switchboard drain and data-path will not work here; SIGTERM drains", "error", err)
		return nil
	}
	h, err := admin.NewRelay(admin.RelayDeps{Relay: n.relay, Tokens: tokens, Log: n.log, API: n.admin, Registerer: n.metrics})
	if err != nil {
		return err
	}
	n.relayAdmin.Store(&h)
	return nil
}

// serveRelayAdmin answers on the listener for operators what is asked of the relay.
func (n *node) serveRelayAdmin(w http.ResponseWriter, r *http.Request) {
	if h := n.relayAdmin.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	admin.Refuse(w, protocol.NewError(protocol.CodeUnsupported, "this process has no relay that operators could change: it has no such role, or starts yet, or admin.listen is empty, or the log says why"))
}
