package directory

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Relays hold leases beside those of nodes. Nobody is asked whether a relay lives: its
// lease says so, and what it tells with each renewal.

const (
	// relayTTL is how long a relay that no longer renews its lease counts as alive,
	// and relayEvery how often it renews it. The first is shorter than that of a
	// node, because people hear nothing until another relay is found, and a relay
	// that is thought dead for a moment loses nothing but the calls that leave it.
	relayTTL   = 6 * time.Second
	relayEvery = 2 * time.Second
	// lookRelays is how often leases are looked at whose end was not told.
	lookRelays = time.Second
)

// Relay is what a relay tells of itself, anew with each renewal of its lease.
type Relay struct {
	V      int    `json:"v"`
	Name   string `json:"name"`
	Region string `json:"region"`
	// Zone is what fails together with it, such as a rack or a data centre; empty is
	// the relay alone.
	Zone    string    `json:"zone,omitempty"`
	Version string    `json:"version,omitempty"` // of the program
	Started time.Time `json:"started,omitzero"`
	// STUN and TURN are the URLs at which clients reach it (RFC 7064, RFC 7065), at
	// most 16 of each.
	STUN []string `json:"stun,omitempty"`
	TURN []string `json:"turn"`
	// Allocations are those that it has, and Max those that it may have.
	Allocations int `json:"allocations,omitempty"`
	Max         int `json:"max,omitempty"`
	// Draining says that it opens no allocations any more, and that those who use it
	// should leave.
	Draining bool `json:"draining,omitempty"`
}

const maxRelayURLs = 16

// RelayInfo is a relay as it last told, and what became of it.
type RelayInfo struct {
	// Incarnation names the relay since its last start.
	Incarnation string
	Relay
	// Gone is when it was found to have died or stopped, zero while it lives. It is
	// remembered for an hour.
	Gone time.Time
}

// knownRelay is a relay and when its lease was heard of, by this node's clock.
type knownRelay struct {
	RelayInfo
	at time.Time
}

// OnRelay sets what is called when a relay has come, has gone, or is drained or no
// longer so. It must not block, and must be set before [Directory.Run].
func (d *Directory) OnRelay(f func()) { d.onRelay = f }

// Relays lists the relays that are known, those included that have gone within the last
// hour, by their incarnations. While NATS is away, relays count as they last did.
func (d *Directory) Relays() []RelayInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]RelayInfo, 0, len(d.relays))
	for _, inc := range slices.Sorted(maps.Keys(d.relays)) {
		all = append(all, d.relays[inc].RelayInfo)
	}
	return all
}

// countRelays counts those that live, and are drained or not.
func (d *Directory) countRelays(draining bool) int {
	n := 0
	for _, r := range d.Relays() {
		if r.Gone.IsZero() && r.Draining == draining {
			n++
		}
	}
	return n
}

// noteRelay notes what the watch brings of a relay's lease.
func (d *Directory) noteRelay(incarnation string, u jetstream.KeyValueEntry) {
	if u.Operation() != jetstream.KeyValuePut {
		d.mu.Lock()
		changed := d.relayGone(incarnation)
		d.mu.Unlock()
		d.tellRelay(changed)
		return
	}
	r, err := decodeRelay(incarnation, u.Value())
	if err != nil {
		d.log.Warn("lease of a relay not understood; nobody is sent there", "relay", incarnation, "error", err)
		return
	}
	d.mu.Lock()
	old, known := d.relays[incarnation]
	changed := !known || !old.Gone.IsZero() || old.Draining != r.Draining
	for other, o := range d.relays { // one that is started anew has died before
		if !known && o.Name == r.Name && o.Started.Before(r.Started) {
			d.relayGone(other)
		}
	}
	d.relays[incarnation] = knownRelay{RelayInfo{Incarnation: incarnation, Relay: r}, time.Now()}
	d.mu.Unlock()
	if changed {
		d.log.Info("relay", "relay", incarnation, "region", r.Region, "alive", true, "draining", r.Draining)
	}
	d.tellRelay(changed)
}

// relayGone notes that a relay lives no more, and reports whether that is news. The
// caller holds mu.
func (d *Directory) relayGone(incarnation string) bool {
	r, known := d.relays[incarnation]
	if !known || !r.Gone.IsZero() {
		return false
	}
	r.Gone = time.Now()
	d.relays[incarnation] = r
	maps.DeleteFunc(d.relays, func(_ string, r knownRelay) bool {
		return !r.Gone.IsZero() && time.Since(r.Gone) > rememberDead
	})
	d.log.Info("relay", "relay", incarnation, "region", r.Region, "alive", false)
	return true
}

func (d *Directory) tellRelay(changed bool) {
	if changed && d.onRelay != nil {
		d.onRelay()
	}
}

// lapseRelays finds leases of relays that have ended without this being told, as when
// NATS was restarted meanwhile. It is believed only by a node that holds its own: if
// NATS is away, the relays are not.
func (d *Directory) lapseRelays() {
	d.mu.Lock()
	changed := false
	if d.aliveLocked(d.incarnation) {
		for inc, r := range d.relays {
			if r.Gone.IsZero() && time.Since(r.at) > relayTTL+2*relayEvery {
				changed = d.relayGone(inc) || changed
			}
		}
	}
	d.mu.Unlock()
	d.tellRelay(changed)
}

// spareRelays gives all relays that live the time for another renewal: the leases are
// about to be watched anew, and what happened before is not known.
func (d *Directory) spareRelays() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for inc, r := range d.relays {
		r.at = time.Now()
		d.relays[inc] = r
	}
}

// decodeRelay reads what a relay tells. It comes from a process with few rights, so
// that nothing is believed that cannot be.
func decodeRelay(incarnation string, data []byte) (Relay, error) {
	r := Relay{}
	if err := decode("relay", data, &r); err != nil {
		return r, err
	}
	bad := func(field, why string) (Relay, error) { return Relay{}, &RecordError{"relay", field, why} }
	switch {
	case !strings.HasPrefix(incarnation, r.Name+".") || !validNode(r.Name):
		return bad("name", "is not the one that it is kept for")
	case !validNode(r.Region):
		return bad("region", "cannot be")
	case r.Zone != "" && !validNode(r.Zone):
		return bad("zone", "cannot be")
	case len(r.TURN) == 0 || len(r.TURN) > maxRelayURLs || len(r.STUN) > maxRelayURLs:
		return bad("turn", fmt.Sprintf("and stun must be at most %d URLs, and turn at least one", maxRelayURLs))
	case r.Allocations < 0 || r.Max < 0:
		return bad("allocations", "cannot be negative")
	}
	for _, u := range r.TURN {
		if !strings.HasPrefix(u, "turn:") && !strings.HasPrefix(u, "turns:") || len(u) > maxRelayURL {
			return bad("turn", "must be URLs of TURN servers")
		}
	}
	for _, u := range r.STUN {
		if !strings.HasPrefix(u, "stun:") && !strings.HasPrefix(u, "stuns:") || len(u) > maxRelayURL {
			return bad("stun", "must be URLs of STUN servers")
		}
	}
	return r, nil
}

// maxRelayURL bounds one URL of a relay, in bytes.
const maxRelayURL = 300

// RelayLease makes a relay known to the nodes, with no rights in NATS but to write its
// own lease: to publish to $KV.NODES.r.<name>.*, and to be answered.
type RelayLease struct {
	// OnKnown is called, if not nil, when the nodes begin to know of the relay and
	// when that ends. It must be set before [RelayLease.Hold].
	OnKnown func(known bool)

	bucket bucket
	name   string
	key    string
	log    *slog.Logger
}

// NewRelayLease returns the lease of a relay, for one start of it. It takes nothing
// yet.
func NewRelayLease(nc *nats.Conn, js jetstream.JetStream, name string, log *slog.Logger) (*RelayLease, error) {
	if !validNode(name) {
		return nil, fmt.Errorf("relay %q: the name may have a-z, 0-9 and - alone, 64 at most", name)
	}
	return &RelayLease{
		bucket: bucket{name: bucketNodes, nc: nc, js: js, timeout: relayEvery},
		name:   name, key: relayKey(name + "." + strings.ToLower(rand.Text()[:8])), log: log,
	}, nil
}

// Hold tells what status returns, every two seconds and whenever changed can be received
// from, until ctx ends; then it gives the lease back. What keeps it from that is logged,
// once for each time that it begins, and tried again.
func (l *RelayLease) Hold(ctx context.Context, status func() Relay, changed <-chan struct{}) {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	held, failing := false, false
	for {
		err := l.renew(ctx, status())
		switch {
		case ctx.Err() != nil:
			l.giveBack(context.WithoutCancel(ctx))
			return
		case err != nil && !failing:
			l.log.Warn("relay not made known; no calls are sent to it until it is", "error", err)
		case err == nil && !held:
			l.log.Info("relay is known to the signaling nodes", "relay", l.name)
		}
		if now := err == nil; now != held && l.OnKnown != nil {
			l.OnKnown(now)
		}
		held, failing = err == nil, err != nil
		select {
		case <-tick.C:
		case <-changed:
		case <-ctx.Done():
			l.giveBack(context.WithoutCancel(ctx))
			return
		}
	}
}

// renew needs no compare-and-set: nobody else writes the key.
func (l *RelayLease) renew(ctx context.Context, r Relay) error {
	r.V, r.Name = recordVersion, l.name
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	m := nats.NewMsg(l.bucket.subject(l.key))
	m.Data = data
	m.Header.Set(jetstream.MsgTTLHeader, relayTTL.String())
	_, err = l.bucket.publish(ctx, m)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("no signaling node has made the bucket of leases yet, or this relay may not publish to it: %w", err)
	}
	return err
}

func (l *RelayLease) giveBack(ctx context.Context) {
	m := nats.NewMsg(l.bucket.subject(l.key))
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Header.Set(jetstream.MsgTTLHeader, "30s")
	if _, err := l.bucket.publish(ctx, m); err != nil {
		l.log.Debug("lease of the relay not given back; it lapses", "error", err)
	}
}
