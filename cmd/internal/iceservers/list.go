package iceservers

import (
	"cmp"
	"net"
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

// List is what devices are told of the relays: of those that have made themselves
// known, and of those that are configured. It implements [signaling.Relays]. Its fields
// are set before the first device is served; then its methods may be called
// concurrently.
type List struct {
	STUN, TURN []string // configured URLs (RFC 7064, RFC 7065)
	Own        URLs     // of this process's relay, for as long as it has not made itself known
	Name       string   // that it makes itself known by
	Region     string   // of this process
	Minter     *relay.Minter
	Known      func() []directory.RelayInfo // nil without a directory
	seen       atomic.Pointer[view]
}

var _ signaling.Relays = (*List)(nil)

// view is what was last seen of the relays, for what is asked often.
type view struct {
	places map[string]place // by host:port
	open   protocol.ICE
}

// URLs are where clients reach one relay.
type URLs struct{ STUN, TURN []string }

// URLsOf are where clients reach a relay that listens on some addresses of hosts.
func URLsOf(hosts []string, a relay.Addrs) (u URLs) {
	for _, host := range hosts {
		u.STUN = append(u.STUN, "stun:"+withPort(host, a.UDP))
		u.TURN = append(u.TURN, "turn:"+withPort(host, a.UDP)+"?transport=udp", "turn:"+withPort(host, a.TCP)+"?transport=tcp")
		if a.TLS != nil {
			u.TURN = append(u.TURN, "turns:"+withPort(host, a.TLS)+"?transport=tcp")
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
func (l *List) rank(call, nearest string) ([]region.Candidate, map[string]URLs) {
	if l.Known == nil {
		return nil, nil
	}
	var all []region.Relay
	byName := map[string]URLs{}
	for _, k := range l.Known() {
		all = append(all, region.Relay{
			Name: k.Name, Region: k.Region, Zone: k.Zone, Used: k.Allocations, Max: k.Max, Draining: k.Draining, Gone: !k.Gone.IsZero(),
		})
		byName[k.Name] = URLs{k.STUN, k.TURN}
	}
	return region.RankRelays(all, call, cmp.Or(nearest, l.Region)), byName
}

// Ranked is what operators are told of a call's relays.
func (l *List) Ranked(call, nearest string) (all []region.Candidate, configured []string) {
	all, _ = l.rank(call, nearest)
	return all, l.TURN
}

// Chosen implements [signaling.Relays]. Those that are only configured have no names.
func (l *List) Chosen(call, nearest string) []string {
	names := []string{}
	ranked, _ := l.rank(call, nearest)
	for _, c := range ranked {
		if c.Verdict.Given() {
			names = append(names, c.Name)
		}
	}
	return names
}

// chosen are the relays for a call.
func (l *List) chosen(call, nearest string) []URLs {
	ranked, byName := l.rank(call, nearest)
	var out []URLs
	for _, c := range ranked {
		if c.Verdict.Given() {
			out = append(out, byName[c.Name])
		}
	}
	if len(out) > 0 {
		out[0].TURN = out[0].TURN[:min(len(out[0].TURN), maxTURNURLs)]
	}
	if len(out) > 1 {
		out[1].TURN = shortest(out[1].TURN)
	}
	known := slices.ContainsFunc(ranked, func(c region.Candidate) bool { return c.Name == l.Name })
	if len(out) == 0 && len(l.TURN) == 0 && len(l.Own.TURN) > 0 && !known {
		out = append(out, l.Own)
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
func (l *List) Open() protocol.ICE {
	if v := l.seen.Load(); v != nil {
		return v.open
	}
	return l.open(nil)
}

func (l *List) open(chosen []URLs) protocol.ICE {
	stun := l.STUN
	if len(stun) == 0 {
		for _, u := range chosen {
			stun = append(stun, u.STUN[:min(len(u.STUN), 2)]...)
		}
	}
	if len(stun) == 0 {
		stun = l.Own.STUN
	}
	if len(stun) == 0 {
		return protocol.ICE{Servers: []protocol.ICEServer{}}
	}
	return protocol.ICE{Servers: []protocol.ICEServer{{URLs: stun}}}
}

// For implements [signaling.Relays].
func (l *List) For(f signaling.RelaysFor) protocol.ICE {
	chosen := l.chosen(f.Call, f.Region)
	if len(l.TURN) > 0 {
		chosen = append(chosen, URLs{TURN: l.TURN})
	}
	ice := l.open(chosen)
	if len(chosen) == 0 {
		return ice
	}
	now := time.Now()
	username, password, expires := l.Minter.Mint(f.Call, string(f.Account), f.Began, now)
	for _, u := range chosen {
		ice.Servers = append(ice.Servers, protocol.ICEServer{URLs: u.TURN, Username: username, Credential: password})
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
func (l *List) State(server string, since time.Time) signaling.RelayState {
	v := l.seen.Load()
	if v == nil {
		return signaling.RelayServes
	}
	p := v.places[server]
	if !since.IsZero() && since.Before(p.lost.Add(-skew)) {
		return signaling.RelayLost
	}
	return p.state
}

// Changed notes how the relays that are known do now, and reports whether there is one
// that calls must leave. As long as there is no other to go to, they stay: a relay that
// is drained still works, and one that seems dead may.
func (l *List) Changed() (leave bool) {
	places := map[string]place{}
	known := l.Known()
	elsewhere := len(l.TURN) > 0 || slices.ContainsFunc(known, func(k directory.RelayInfo) bool { return k.Gone.IsZero() && !k.Draining })
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
	if v := l.seen.Swap(&view{places, l.open(l.chosen("", l.Region))}); v != nil {
		before = v.places
	}
	for at, p := range places {
		leave = leave || p.state > before[at].state || p.lost.After(before[at].lost)
	}
	return leave
}
