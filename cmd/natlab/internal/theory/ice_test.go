package theory

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"switchboard/relay/natlab"
	"switchboard/relay/natlab/nat"
)

// icePhone is an endpoint that does ICE's checks (RFC 8445) from one socket, behind a chain
// of NATs, the nearest first.
type icePhone struct {
	socket  netip.AddrPort
	chain   []*nat.Table
	outer   netip.Addr
	remotes []netip.AddrPort // whom it checks, in the order learnt
	worked  bool
}

func newICEPhone(net byte, nats []natlab.NAT, rnd *rand.Rand) *icePhone {
	p := &icePhone{socket: netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 168, net, 2}), 5000)}
	p.outer = p.socket.Addr()
	for i, n := range nats {
		p.outer = netip.AddrFrom4([4]byte{198, 18, net, byte(i + 1)})
		p.chain = append(p.chain, nat.New(n, p.outer, rnd))
	}
	return p
}

var played = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // no mapping runs out

// send is what the world sees of a packet to dst; false if it does not get there.
func (p *icePhone) send(dst netip.AddrPort) (netip.AddrPort, bool) {
	pkt := nat.Packet{Proto: nat.UDP, Src: p.socket, Dst: dst}
	for _, t := range p.chain {
		var v nat.Verdict
		if pkt, v = t.Outbound(played, pkt); v != nat.Forward {
			return netip.AddrPort{}, false
		}
	}
	return pkt.Src, true
}

// hears is whether a packet from the world reaches the socket.
func (p *icePhone) hears(src, dst netip.AddrPort) bool {
	pkt := nat.Packet{Proto: nat.UDP, Src: src, Dst: dst}
	for i := len(p.chain) - 1; i >= 0; i-- {
		var v nat.Verdict
		if pkt, v = p.chain[i].Inbound(played, pkt); v != nat.Forward {
			return false
		}
	}
	return pkt.Dst == p.socket
}

func (p *icePhone) learn(remote netip.AddrPort) {
	for _, r := range p.remotes {
		if r == remote {
			return
		}
	}
	p.remotes = append(p.remotes, remote)
}

// check sends one check and takes the answer.
func (p *icePhone) check(other *icePhone, dst netip.AddrPort) {
	from, ok := p.send(dst)
	if !ok || !other.hears(from, dst) {
		return
	}
	other.learn(from)
	answer, ok := other.send(from)
	if ok && p.hears(answer, from) && answer == dst {
		p.worked = true
	}
}

// playICE is whether two phones find a direct path.
func playICE(a, b *icePhone) bool {
	stun := netip.MustParseAddrPort("198.18.200.1:3478")
	for _, pair := range [][2]*icePhone{{a, b}, {b, a}} {
		if reflexive, ok := pair[0].send(stun); ok {
			pair[1].learn(reflexive)
		}
	}
	for range 12 {
		for _, pair := range [][2]*icePhone{{a, b}, {b, a}} {
			for _, r := range pair[0].remotes {
				pair[0].check(pair[1], r)
			}
		}
	}
	return a.worked && b.worked
}

// TestLawIsWhatICEDoes plays each pair of NATs, and of chains of two that the law has an
// answer for, with many ports.
func TestLawIsWhatICEDoes(t *testing.T) {
	var chains [][]natlab.NAT
	for _, m := range natlab.Behaviors() {
		for _, f := range natlab.Behaviors() {
			one := natlab.NAT{Mapping: m, Filtering: f, Ports: natlab.RandomPorts}
			chains = append(chains, []natlab.NAT{one})
			for _, n := range []natlab.NAT{natlab.AddressRestricted, natlab.Symmetric} {
				chains = append(chains, []natlab.NAT{one, n}, []natlab.NAT{n, one})
			}
		}
	}
	chains = append(chains, nil)
	for _, a := range chains {
		for _, b := range chains {
			got, err := Between(pairOf(routersOf(a), routersOf(b)), "alice", "bob", true)
			if err != nil {
				continue // says itself that it does not know
			}
			for seed := range uint64(2) {
				rnd := rand.New(rand.NewPCG(seed, 1))
				if direct := playICE(newICEPhone(1, a, rnd), newICEPhone(2, b, rnd)); direct != (got.Path == Host || got.Path == Direct) {
					t.Fatalf("%v × %v: the law says %v, ICE finds a path: %v", a, b, got, direct)
				}
			}
		}
	}
}

func routersOf(nats []natlab.NAT) []natlab.RouterSpec {
	var list []natlab.RouterSpec
	for _, n := range nats {
		list = append(list, natlab.RouterSpec{NAT: &n})
	}
	return list
}

// pairOf is a topology with alice and bob behind some routers each, the nearest first.
func pairOf(a, b []natlab.RouterSpec) natlab.Topology {
	t := natlab.Topology{Networks: map[string]natlab.NetworkSpec{}, Routers: map[string]natlab.RouterSpec{}, Hosts: map[string]natlab.HostSpec{}}
	for host, routers := range map[string][]natlab.RouterSpec{"alice": a, "bob": b} {
		at := natlab.Internet
		for i := len(routers) - 1; i >= 0; i-- {
			r := routers[i]
			name := host + string(rune('0'+i))
			r.Inside, r.Outside = name, at
			t.Routers[name+"-r"], t.Networks[name], at = r, natlab.NetworkSpec{}, name
		}
		t.Hosts[host] = natlab.HostSpec{Networks: []string{at}}
	}
	return t
}
