package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/directory"
	"switchboard/relay"
	"switchboard/signaling"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// ICEConfig names the ICE servers that devices are given, where they are not
// this process's own relay.
type ICEConfig struct {
	// Host is the name or address of this process's relay in what devices are
	// told. TLS needs a name: it stands in the certificate.
	Host     string   `yaml:"host"`
	STUNURLs []string `yaml:"stun_urls"`
	TURNURLs []string `yaml:"turn_urls"`
}

func (c ICEConfig) validate() error {
	var errs []error
	for _, list := range []struct {
		key     string
		urls    []string
		schemes []string
	}{
		{"ice.stun_urls", c.STUNURLs, []string{"stun:", "stuns:"}},
		{"ice.turn_urls", c.TURNURLs, []string{"turn:", "turns:"}},
	} {
		for _, u := range list.urls {
			ok := slices.ContainsFunc(list.schemes, func(s string) bool { return len(u) > len(s) && strings.HasPrefix(u, s) })
			if !ok {
				errs = append(errs, fmt.Errorf("%s: %q does not begin with %s", list.key, u, strings.Join(list.schemes, " or ")))
			}
		}
	}
	return errors.Join(errs...)
}

// relays is what devices are told of the relays: of those that have made themselves
// known, and of those that are configured. Its methods may be called concurrently once
// the first device is served.
type relays struct {
	stun, turn []string // configured URLs (RFC 7064, RFC 7065)
	own        urls     // of this process's relay, for as long as it has not made itself known
	name       string   // that it makes itself known by
	region     string   // of this process
	minter     *relay.Minter
	known      func() []directory.RelayInfo // nil without a directory
	seen       atomic.Pointer[view]
}

// view is what was last seen of the relays, for what is asked often.
type view struct {
	places map[string]place // by host:port
	open   protocol.ICE
}

// urls are where clients reach one relay.
type urls struct{ stun, turn []string }

func newRelays(c Config, secrets []relay.Secret) (*relays, error) {
	m, err := relay.NewMinter(secrets, c.Relay.CredentialTTL)
	if err != nil {
		return nil, fmt.Errorf("relay.%w", err)
	}
	return &relays{stun: c.ICE.STUNURLs, turn: c.ICE.TURNURLs, name: c.Node, region: c.Region, minter: m}, nil
}

// urlsOf are where clients reach a relay that listens on some addresses of hosts.
func urlsOf(hosts []string, a relay.Addrs) (u urls) {
	for _, host := range hosts {
		u.stun = append(u.stun, "stun:"+withPort(host, a.UDP))
		u.turn = append(u.turn, "turn:"+withPort(host, a.UDP)+"?transport=udp", "turn:"+withPort(host, a.TCP)+"?transport=tcp")
		if a.TLS != nil {
			u.turn = append(u.turn, "turns:"+withPort(host, a.TLS)+"?transport=tcp")
		}
	}
	return u
}

func withPort(host string, a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return net.JoinHostPort(host, port)
}

// rank says how the relays that are known stand for a call of a region, and which it is
// given.
func (r *relays) rank(call, nearest string) ([]region.Candidate, map[string]urls) {
	if r.known == nil {
		return nil, nil
	}
	var all []region.Relay
	byName := map[string]urls{}
	for _, k := range r.known() {
		all = append(all, region.Relay{
			Name: k.Name, Region: k.Region, Zone: k.Zone, Used: k.Allocations, Max: k.Max, Draining: k.Draining, Gone: !k.Gone.IsZero(),
		})
		byName[k.Name] = urls{k.STUN, k.TURN}
	}
	return region.RankRelays(all, call, cmp.Or(nearest, r.region)), byName
}

// ranked is what operators are told of a call's relays.
func (r *relays) ranked(call, nearest string) (all []region.Candidate, configured []string) {
	all, _ = r.rank(call, nearest)
	return all, r.turn
}

// Chosen implements [signaling.Relays]. Those that are only configured have no names.
func (r *relays) Chosen(call, nearest string) []string {
	names := []string{}
	ranked, _ := r.rank(call, nearest)
	for _, c := range ranked {
		if c.Verdict.Given() {
			names = append(names, c.Name)
		}
	}
	return names
}

// chosen are the relays for a call.
func (r *relays) chosen(call, nearest string) []urls {
	ranked, byName := r.rank(call, nearest)
	var out []urls
	for _, c := range ranked {
		if c.Verdict.Given() {
			out = append(out, byName[c.Name])
		}
	}
	if len(out) > 0 {
		out[0].turn = out[0].turn[:min(len(out[0].turn), maxTURNURLs)]
	}
	if len(out) > 1 {
		out[1].turn = shortest(out[1].turn)
	}
	known := slices.ContainsFunc(ranked, func(c region.Candidate) bool { return c.Name == r.name })
	if len(out) == 0 && len(r.turn) == 0 && len(r.own.turn) > 0 && !known {
		out = append(out, r.own)
	}
	return out
}

// maxTURNURLs is how many ways to one relay a device is told: it tries them all at
// once, each with an allocation.
const maxTURNURLs = 6

// shortest leaves, of the ways to a relay that is the second choice, the fastest and the
// one that passes most firewalls.
func shortest(turn []string) []string {
	var out []string
	for _, prefix := range []string{"turn:", "turns:"} {
		if i := slices.IndexFunc(turn, func(u string) bool { return strings.HasPrefix(u, prefix) }); i >= 0 {
			out = append(out, turn[i])
		}
	}
	return out
}

// Open implements [signaling.Relays]. Each device is told at each connect.
func (r *relays) Open() protocol.ICE {
	if v := r.seen.Load(); v != nil {
		return v.open
	}
	return r.open(nil)
}

func (r *relays) open(chosen []urls) protocol.ICE {
	stun := r.stun
	if len(stun) == 0 {
		for _, u := range chosen {
			stun = append(stun, u.stun[:min(len(u.stun), 2)]...)
		}
	}
	if len(stun) == 0 {
		stun = r.own.stun
	}
	if len(stun) == 0 {
		return protocol.ICE{Servers: []protocol.ICEServer{}}
	}
	return protocol.ICE{Servers: []protocol.ICEServer{{URLs: stun}}}
}

// For implements [signaling.Relays].
func (r *relays) For(f signaling.RelaysFor) protocol.ICE {
	chosen := r.chosen(f.Call, f.Region)
	if len(r.turn) > 0 {
		chosen = append(chosen, urls{turn: r.turn})
	}
	ice := r.open(chosen)
	if len(chosen) == 0 {
		return ice
	}
	now := time.Now()
	username, password, expires := r.minter.Mint(f.Call, string(f.Account), f.Began, now)
	for _, u := range chosen {
		ice.Servers = append(ice.Servers, protocol.ICEServer{URLs: u.turn, Username: username, Credential: password})
	}
	ice.TTLMS = expires.Sub(now).Milliseconds()
	return ice
}

// place is what is known of the relay at a host:port.
type place struct {
	relay string // its name; "" if several say that they are there
	state signaling.RelayState
	lost  time.Time // what was there before that is lost
}

// skew is how far the clocks of nodes may differ.
const skew = 5 * time.Second

// State implements [signaling.Relays].
func (r *relays) State(server string, since time.Time) signaling.RelayState {
	v := r.seen.Load()
	if v == nil {
		return signaling.RelayServes
	}
	p := v.places[server]
	if !since.IsZero() && since.Before(p.lost.Add(-skew)) {
		return signaling.RelayLost
	}
	return p.state
}

// changed notes how the relays that are known do now, and reports whether there is one
// that calls must leave. As long as there is no other to go to, they stay: a relay that
// is drained still works, and one that seems dead may.
func (r *relays) changed() (leave bool) {
	places := map[string]place{}
	known := r.known()
	elsewhere := len(r.turn) > 0 || slices.ContainsFunc(known, func(k directory.RelayInfo) bool { return k.Gone.IsZero() && !k.Draining })
	for _, k := range known {
		p := place{relay: k.Name, lost: k.Restarted}
		switch {
		case !k.Gone.IsZero() && elsewhere:
			p.state = signaling.RelayLost
		case k.Draining && elsewhere:
			p.state = signaling.RelayDrains
		}
		for _, text := range k.TURN {
			u, err := stun.ParseURI(text)
			if err != nil {
				continue
			}
			at := net.JoinHostPort(u.Host, strconv.Itoa(u.Port))
			if other, taken := places[at]; taken && other.relay != k.Name {
				// Which of them a call is on is not known: it is for the call to notice.
				places[at] = place{state: min(other.state, p.state)}
				continue
			}
			places[at] = p
		}
	}
	var before map[string]place
	if v := r.seen.Swap(&view{places, r.open(r.chosen("", r.region))}); v != nil {
		before = v.places
	}
	for at, p := range places {
		leave = leave || p.state > before[at].state || p.lost.After(before[at].lost)
	}
	return leave
}

// relayHosts returns where devices find the relay of this process: under the
// configured name, or else at the first public address of each family, or the one
// that it listens on, or the one from which this machine reaches others.
func relayHosts(ice ICEConfig, c relay.Config) []string {
	if ice.Host != "" {
		return []string{ice.Host}
	}
	var hosts []string
	var four, six bool
	for _, a := range c.PublicAddresses {
		seen := &six
		if a.Unmap().Is4() {
			seen = &four
		}
		if !*seen {
			*seen, hosts = true, append(hosts, a.String())
		}
	}
	if hosts != nil {
		return hosts
	}
	host, _, _ := net.SplitHostPort(c.Listen)
	if a, err := netip.ParseAddr(host); err == nil && !a.IsUnspecified() {
		return []string{host}
	}
	// Some addresses that are far away; nothing is sent to them.
	for _, far := range []string{"198.41.0.4:53", "[2001:503:ba3e::2:30]:53"} {
		if conn, err := net.Dial("udp", far); err == nil {
			conn.Close()
			host, _, _ := net.SplitHostPort(conn.LocalAddr().String())
			return []string{host}
		}
	}
	return []string{"127.0.0.1"}
}
