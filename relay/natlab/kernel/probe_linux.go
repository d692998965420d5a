package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"sync"
	"time"

	"switchboard/relay/natlab/discovery"
	"switchboard/relay/natlab/nat"
)

// probeWait is how long a probe waits for an answer, beside what the links take.
const probeWait = 500 * time.Millisecond

// Probe finds out how the NATs between a host and the internet behave, asking coturn's
// turnserver on a machine of its own there. It knows nothing of the topology but the delays of
// links. The first call in a lab starts the server. With coturn, its client is asked, too,
// which takes up to seven seconds; without, it is up to two.
func (l *Lab) Probe(ctx context.Context, host string, coturn bool) (Probed, error) {
	p, err := l.probe(ctx, host, coturn)
	if err != nil {
		return p, fmt.Errorf("probe from host %q: %w", host, err)
	}
	return p, nil
}

// Verify probes, and the error says what is otherwise than the topology wants it.
func (l *Lab) Verify(ctx context.Context, host string, coturn bool) (Probed, error) {
	p, err := l.Probe(ctx, host, coturn)
	if err != nil {
		return p, err
	}
	l.mu.Lock()
	networks := l.networks(host)
	l.mu.Unlock()
	if err := p.differs(l.plan.expected(networks[0])); err != nil {
		return p, fmt.Errorf("NATs in front of host %q: %w", host, err)
	}
	return p, nil
}

func (l *Lab) probe(ctx context.Context, host string, coturn bool) (Probed, error) {
	if _, err := l.host(host); err != nil {
		return Probed{}, err
	}
	s, err := l.stun(ctx)
	if err != nil {
		return Probed{}, err
	}
	l.mu.Lock()
	own, networks := l.addrs(host), l.networks(host)
	l.mu.Unlock()
	if len(own) == 0 {
		return Probed{}, errors.New("it is in no network")
	}
	wait := probeWait + l.plan.roundTrip(networks[0])
	c := discovery.Client{
		Listen: func() (net.PacketConn, error) { return l.ListenPacket(ctx, host, "udp", ":0") },
		Server: s.addr,
		Own:    own,
		Wait:   wait,
	}
	four := own[0].Is4()
	if !four {
		c.Server, c.Known = netip.AddrPortFrom(nat.Embed(s.addr.Addr()), s.addr.Port()), nat.Embed
	}
	var p Probed
	var errs [3]error
	var all sync.WaitGroup
	all.Go(func() { p.Ours, errs[0] = c.Discover(ctx) })
	all.Go(func() { p.TCP, errs[1] = l.probeTCP(ctx, host, c.Server.Addr(), wait) })
	switch p.CoturnMissing = coturnMissing(four); {
	case !coturn:
		p.CoturnMissing = "it was not asked"
	case p.CoturnMissing == "":
		all.Go(func() { p.Coturn, errs[2] = l.coturn(ctx, host, own[0], s.addr.Addr()) })
	}
	all.Wait()
	return p, errors.Join(errs[:]...)
}

// probeTCP says for all of TCPPorts whether there is a way to the server's.
func (l *Lab) probeTCP(ctx context.Context, host string, server netip.Addr, wait time.Duration) (map[uint16]bool, error) {
	const again = time.Second // after which a SYN is sent once more
	dialing, cancel := context.WithTimeout(ctx, again+2*wait)
	defer cancel()
	got := make([]bool, len(TCPPorts))
	var all sync.WaitGroup
	for i, port := range TCPPorts {
		all.Go(func() {
			c, err := l.DialContext(dialing, host, "tcp", netip.AddrPortFrom(server, port).String())
			if got[i] = err == nil; got[i] {
				c.Close()
			}
		})
	}
	all.Wait()
	open := make(map[uint16]bool)
	for i, port := range TCPPorts {
		open[port] = got[i]
	}
	return open, ctx.Err()
}

// coturnMissing is why coturn's client cannot be asked.
func coturnMissing(four bool) string {
	if _, err := exec.LookPath("turnutils_natdiscovery"); err != nil {
		return "turnutils_natdiscovery is not there: " + err.Error()
	}
	if !four {
		return "turnutils_natdiscovery does not know of NAT64"
	}
	return ""
}

// coturn asks coturn's client, for mapping and filtering with a socket each.
func (l *Lab) coturn(ctx context.Context, host string, own, server netip.Addr) (*discovery.Verdict, error) {
	var texts [2]string
	var errs [2]error
	var both sync.WaitGroup
	for i, test := range []string{"-m", "-f"} {
		both.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			out, err := l.Command(ctx, host, "turnutils_natdiscovery", test, "-L", own.String(), "-p", fmt.Sprint(stunPort), server.String()).CombinedOutput()
			texts[i] = string(out)
			if ctx.Err() != nil {
				errs[i] = fmt.Errorf("turnutils_natdiscovery %s: %w", test, errors.Join(ctx.Err(), err))
			}
		})
	}
	both.Wait()
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	v, err := readCoturn(texts[0], texts[1])
	return &v, err
}
