package processes

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"switchboard/cmd/natlab/internal/report"
	"switchboard/relay"
	"switchboard/relay/natlab/kernel"
)

const (
	// countEvery is how often relays are asked what they have relayed, since one that loses
	// its power cannot be asked any more.
	countEvery = time.Second
	// settleWithin is by when a relay's metrics have what its kernel has relayed.
	settleWithin = 1200 * time.Millisecond
	// askWithin bounds a question, and maxMetrics the answer, in bytes.
	askWithin  = 2 * time.Second
	maxMetrics = 1 << 20
)

// relaying asks the relays of a call what they have relayed. Its methods may be called
// concurrently.
type relaying struct {
	// Static after newRelaying.
	hosts   []string
	clients map[string]*http.Client

	mu sync.Mutex
	// Guarded by mu, by host.
	before map[string]report.Relay // of processes that have ended
	last   map[string]counts
	begun  map[string]report.Relay // what there was before anybody counted
}

func newRelaying(lab *kernel.Lab, hosts []string) *relaying {
	r := &relaying{hosts: hosts, clients: map[string]*http.Client{}, before: map[string]report.Relay{}, last: map[string]counts{}, begun: map[string]report.Relay{}}
	for _, host := range hosts {
		r.clients[host] = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return lab.DialContext(ctx, host, network, address)
		}}}
	}
	return r
}

// run asks all relays from time to time until ctx ends, and then forgets the connections to
// them.
func (r *relaying) run(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.ask(ctx)
		case <-ctx.Done():
			for _, c := range r.clients {
				c.CloseIdleConnections()
			}
			return
		}
	}
}

// ask asks all relays. One that does not answer, as it has no power, is left as it was.
func (r *relaying) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	var all sync.WaitGroup
	for _, host := range r.hosts {
		all.Go(func() {
			if c, err := r.askOne(ctx, host); err == nil {
				r.note(host, c)
			}
		})
	}
	all.Wait()
}

// begin has what relays have relayed so far not count: checks of all pairs, and handshakes.
func (r *relaying) begin(ctx context.Context) {
	r.ask(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, host := range r.hosts {
		r.begun[host] = add(r.before[host], r.last[host].relay)
	}
}

func (r *relaying) askOne(ctx context.Context, host string) (counts, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", opsPort), nil)
	if err != nil {
		return counts{}, err
	}
	resp, err := r.clients[host].Do(req)
	if err != nil {
		return counts{}, err
	}
	defer resp.Body.Close()
	return readCounts(io.LimitReader(resp.Body, maxMetrics))
}

func (r *relaying) note(host string, c counts) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.last[host]; old.began != "" && old.began != c.began {
		r.before[host] = add(r.before[host], old.relay)
	}
	r.last[host] = c
}

// relays are those that have relayed something, or were to: their names are in work.
func (r *relaying) relays(work map[string]bool) []report.Relay {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []report.Relay
	for _, host := range r.hosts {
		sum := add(r.before[host], r.last[host].relay)
		sum.Up, sum.Down = sum.Up.Since(r.begun[host].Up), sum.Down.Since(r.begun[host].Down)
		sum.Name, sum.KernelsWork = host, work[host]
		if sum.Up.Packets+sum.Down.Packets > 0 || sum.KernelsWork {
			all = append(all, sum)
		}
	}
	return all
}

// inKernel reports whether a relay relays in the kernel, as of its last answer.
func (r *relaying) inKernel() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(slices.Collect(maps.Values(r.last)), func(c counts) bool { return c.relay.DataPath == relay.DataPathEBPF })
}

// fillRelays writes what relays have relayed into the report, once the call is over.
func (p *placing) fillRelays(ctx context.Context, views [2]view) error {
	work := map[string]bool{}
	for i, v := range views {
		other := views[1-i]
		pairs := [][2]report.Side{{v.began, other.began}, {v.end, other.end}}
		for _, s := range v.held {
			pairs = append(pairs, [2]report.Side{s, {}})
		}
		for _, pair := range pairs {
			if host, ok := kernelsWork(pair[0], pair[1]); ok {
				work[host] = true
			}
		}
	}
	if len(work) > 0 && p.relaying.inKernel() {
		if err := sleep(ctx, settleWithin); err != nil {
			return err
		}
	}
	p.relaying.ask(ctx)
	p.call.Relays = p.relaying.relays(work)
	return nil
}

// kernelsWork returns the relay of a side's selected pair, and whether the kernel can relay
// it: a client over UDP, a peer that is not on the relay's own machine, and addresses of one
// family. Other is the other side at that time, or the zero value.
func kernelsWork(s, other report.Side) (host string, ok bool) {
	if s.Local != "relay" || cmp.Or(s.Relay, "udp") != "udp" {
		return "", false
	}
	host, _, err := net.SplitHostPort(s.Server)
	if err != nil {
		return "", false
	}
	relayed, err := netip.ParseAddrPort(s.LocalAddress)
	if err != nil || peerOf(s, other) == relayed.Addr() || !peerOf(s, other).IsValid() {
		return "", false
	}
	for _, c := range s.Candidates {
		if base, err := netip.ParseAddrPort(c.Base); err == nil && c.Address == s.LocalAddress &&
			!base.Addr().IsUnspecified() && base.Addr().Is4() != relayed.Addr().Is4() {
			return "", false
		}
	}
	return strings.TrimSuffix(host, "."), true
}

// peerOf is where a relayed side's packets go, the zero value if that is not known. Browsers
// do not tell where a peer is that was met before it was announced.
func peerOf(s, other report.Side) netip.Addr {
	for _, known := range []string{s.RemoteAddress, other.LocalAddress} {
		if peer, err := netip.ParseAddrPort(known); err == nil {
			return peer.Addr()
		}
	}
	return netip.Addr{}
}
