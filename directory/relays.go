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
)

// Relays make themselves known by what they say, every two seconds, on
// relay.<name>: not through JetStream, where whoever may write one key can do much
// more than that. Nobody is asked whether a relay lives: whoever hears nothing of it for
// a while believes that it does not, unless he hears nothing at all.

const (
	// relayTTL is how long a relay that says nothing counts as alive, and relayEvery how
	// often it speaks. The first is shorter than the lease of a node, because people
	// hear nothing until another relay is found.
	relayTTL   = 6 * time.Second
	relayEvery = 2 * time.Second
	// echoEvery is how often a node speaks to itself, to know that it would hear, and
	// deafAfter how long without that it knows that it does not.
	echoEvery = time.Second
	deafAfter = 5 * time.Second / 2
	// maxRelays bounds those that are known, and maxRelayData what one may say, in
	// bytes.
	maxRelays    = 10_000
	maxRelayData = 8 << 10
)

// Relay is what a relay tells of itself, each time that it speaks.
type Relay struct {
	V int `json:"v"`
	// Start names the relay's process: it is another one with each start.
	Start  string `json:"start"`
	Name   string `json:"name"`
	Region string `json:"region"`
	// Zone is what fails together with it, such as a rack or a data centre; empty is
	// the relay alone.
	Zone    string `json:"zone,omitempty"`
	Version string `json:"version,omitempty"` // of the program
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
	// Stopped says that this is its last word.
	Stopped bool `json:"stopped,omitempty"`
}

const maxRelayURLs = 16

// RelayInfo is a relay as it last told, and what became of it.
type RelayInfo struct {
	Relay
	// Gone is when it was found to have died or stopped, zero while it lives. It is
	// remembered for an hour.
	Gone time.Time
	// Restarted is when the process before this one was found to have died or stopped:
	// what it had is lost. Zero if none is known.
	Restarted time.Time
}

// Incarnation names the relay since its last start.
func (r *RelayInfo) Incarnation() string { return r.Name + "." + r.Start }

// knownRelay is a relay and when it was heard, by this node's clock.
type knownRelay struct {
	RelayInfo
	at  time.Time
	bad bool // it has said what is not understood, and the log says so
}

// OnRelay sets what is called when a relay has come, has gone, is drained or no longer
// so, or was started anew. It must not block, and must be set before [Directory.Run].
func (d *Directory) OnRelay(f func()) { d.onRelay = f }

// Relays lists the relays that are known, those included that have gone within the last
// hour, by their names. While NATS is away, relays count as they last did.
func (d *Directory) Relays() []RelayInfo {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := make([]RelayInfo, 0, len(d.relays))
	for _, name := range slices.Sorted(maps.Keys(d.relays)) {
		all = append(all, d.relays[name].RelayInfo)
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

// hearRelays hears what relays say, until ctx ends.
func (d *Directory) hearRelays(ctx context.Context) error {
	said := make(chan *nats.Msg, 1024)
	sub, err := d.nc.ChanSubscribe(relaySubject("*"), said)
	if err != nil {
		return wrap("hear relays", err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails once the connection is closed
	echo := relaySubject(echoToken) + "." + d.Incarnation()
	heard := make(chan *nats.Msg, 8)
	own, err := d.nc.ChanSubscribe(echo, heard)
	if err != nil {
		return wrap("hear relays", err)
	}
	defer func() { _ = own.Unsubscribe() }()
	tick := time.NewTicker(echoEvery)
	defer tick.Stop()
	last := time.Now() // when the node has heard itself
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-said:
			d.noteRelay(strings.TrimPrefix(m.Subject, relaySubject("")), m.Data)
		case <-heard:
			if time.Since(last) > deafAfter {
				d.spareRelays()
			}
			last = time.Now()
		case <-tick.C:
			if err := d.nc.Publish(echo, nil); err != nil {
				d.log.Debug("NATS not asked whether it is there", "error", err)
			}
			if time.Since(last) < deafAfter {
				d.lapseRelays()
			}
		}
	}
}

// echoToken stands for the name of a relay that no relay can have.
const echoToken = "_"

func relaySubject(name string) string { return "relay." + name }

// noteRelay notes what a relay says.
func (d *Directory) noteRelay(name string, data []byte) {
	r, err := decodeRelay(name, data)
	d.mu.Lock()
	defer d.mu.Unlock()
	old, known := d.relays[name]
	switch {
	case !known && len(d.relays) >= maxRelays:
		return
	case err != nil:
		if !known {
			old.Name, old.Gone = name, time.Now()
		}
		if !old.bad {
			d.log.Warn("what a relay says is not understood; it counts as if it had said nothing", "relay", name, "error", err)
		}
		old.bad = true
		d.relays[name] = old
		return
	case r.Stopped:
		if known && old.Start == r.Start {
			d.relayGone(name)
		}
		return
	}
	now := time.Now()
	next := knownRelay{RelayInfo: RelayInfo{Relay: r, Restarted: old.Restarted}, at: now, bad: old.bad}
	anew := known && old.Start != "" && old.Start != r.Start
	if anew {
		next.Restarted = now
		if !old.Gone.IsZero() {
			next.Restarted = old.Gone
		}
	}
	d.relays[name] = next
	if !known || anew || !old.Gone.IsZero() || old.Draining != r.Draining {
		d.log.Info("relay", "relay", next.Incarnation(), "region", r.Region, "alive", true, "draining", r.Draining)
		d.tellRelay()
	}
}

// relayGone notes that a relay lives no more. The caller holds mu.
func (d *Directory) relayGone(name string) {
	r, known := d.relays[name]
	if !known || !r.Gone.IsZero() {
		return
	}
	r.Gone = time.Now()
	d.relays[name] = r
	maps.DeleteFunc(d.relays, func(_ string, r knownRelay) bool {
		return !r.Gone.IsZero() && time.Since(r.Gone) > rememberDead
	})
	d.log.Info("relay", "relay", r.Incarnation(), "region", r.Region, "alive", false)
	d.tellRelay()
}

// tellRelay must hold mu; whoever is told asks for the relays by himself.
func (d *Directory) tellRelay() {
	select {
	case d.relayNews <- struct{}{}:
	default: // he will be
	}
}

// tellOfRelays tells, until ctx ends, what [Directory.OnRelay] has set.
func (d *Directory) tellOfRelays(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.relayNews:
			if d.onRelay != nil {
				d.onRelay()
			}
		}
	}
}

// lapseRelays finds the relays that have said nothing for too long. It is for a node
// that hears.
func (d *Directory) lapseRelays() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, r := range d.relays {
		if r.Gone.IsZero() && time.Since(r.at) > relayTTL {
			d.relayGone(name)
		}
	}
}

// spareRelays gives all relays that live the time to speak: the node has heard nothing
// for a while, and what happened meanwhile is not known.
func (d *Directory) spareRelays() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, r := range d.relays {
		if r.Gone.IsZero() {
			r.at = time.Now()
			d.relays[name] = r
		}
	}
}

// decodeRelay reads what a relay says. It comes from a process with few rights, so
// that nothing is believed that cannot be.
func decodeRelay(name string, data []byte) (Relay, error) {
	r := Relay{}
	bad := func(field, why string) (Relay, error) { return Relay{}, &RecordError{"relay", field, why} }
	if len(data) > maxRelayData {
		return bad("", fmt.Sprintf("has more than %d bytes", maxRelayData))
	}
	if err := decode("relay", data, &r); err != nil {
		return r, err
	}
	switch {
	case r.Name != name || !validNode(r.Name):
		return bad("name", "is not the one that speaks")
	case !validNode(r.Start):
		return bad("start", "cannot be")
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

// RelayBeacon makes a relay known to the nodes. All that it needs in NATS is to publish
// to relay.<name>.
type RelayBeacon struct {
	// OnKnown is called, if not nil, when the relay begins to be able to speak and
	// when that ends. It must be set before [RelayBeacon.Run].
	OnKnown func(known bool)

	nc          *nats.Conn
	name, start string
	log         *slog.Logger
}

// NewRelayBeacon returns what makes a relay known, for one start of it. It says nothing
// yet.
func NewRelayBeacon(nc *nats.Conn, name string, log *slog.Logger) (*RelayBeacon, error) {
	if !validNode(name) {
		return nil, fmt.Errorf("relay %q: the name may have a-z, 0-9 and - alone, 64 at most", name)
	}
	return &RelayBeacon{nc: nc, name: name, start: strings.ToLower(rand.Text()[:8]), log: log}, nil
}

// Run says what status returns, every two seconds and whenever changed can be received
// from, until ctx ends; then it says that the relay stops. What keeps it from that is
// logged, once for each time that it begins, and tried again.
func (l *RelayBeacon) Run(ctx context.Context, status func() Relay, changed <-chan struct{}) {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	held, failing := false, false
	for {
		err := l.speak(status())
		switch {
		case err != nil && !failing:
			l.log.Warn("relay not made known; no calls are sent to it until it is", "error", err)
		case err == nil && !held:
			l.log.Info("relay makes itself known to the signaling nodes", "relay", l.name)
		}
		if now := err == nil; now != held && l.OnKnown != nil {
			l.OnKnown(now)
		}
		held, failing = err == nil, err != nil
		select {
		case <-tick.C:
		case <-changed:
		case <-ctx.Done():
			last := status()
			last.Stopped = true
			if err := l.speak(last); err != nil {
				l.log.Debug("nobody was told that the relay stops; it counts as dead soon", "error", err)
			}
			return
		}
	}
}

// speak returns once the server has it, or why it has not.
func (l *RelayBeacon) speak(r Relay) error {
	r.V, r.Name, r.Start = recordVersion, l.name, l.start
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if st := l.nc.Status(); st != nats.CONNECTED {
		return fmt.Errorf("NATS is %s", st)
	}
	if err := l.nc.Publish(relaySubject(l.name), data); err != nil {
		return err
	}
	if err := l.nc.FlushTimeout(relayEvery); err != nil {
		return err
	}
	if err := l.nc.LastError(); errors.Is(err, nats.ErrPermissionViolation) {
		return fmt.Errorf("this relay's key is not for its name: %w", err)
	}
	return nil
}
