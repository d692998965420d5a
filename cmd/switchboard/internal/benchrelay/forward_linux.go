package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"
)

// forward is the kernel at the relay's end as a router, in place of a server: what any
// relay in the kernel can at best be near to.
type forward struct {
	nat string // the program nft, where addresses and ports are translated as a relay does
}

// forwarding is a router as a server that is measured. With nft it translates addresses
// and ports.
func forwarding(f *family, name, nft string) *server {
	return &server{name: name, address: netip.AddrPortFrom(f.relay, 0), forward: &forward{nat: nft}}
}

// start has the relay's end forward. The ends are one link away from each other, and so the kernel
// would tell senders of a shorter way, which is not to be measured.
func (f *forward) start(c *cable) error {
	r, g := &c.relay, &c.generator
	bits, settings, own := "/32", [][2]string{
		{"net/ipv4/ip_forward", "1"}, {"net/ipv4/conf/all/send_redirects", "0"}, {"net/ipv4/conf/" + r.name + "/send_redirects", "0"},
	}, [][2]string{ // what comes is from itself
		{"net/ipv4/conf/all/accept_local", "1"}, {"net/ipv4/conf/all/rp_filter", "0"}, {"net/ipv4/conf/" + g.name + "/rp_filter", "0"},
	}
	if c.family == ipv6 {
		bits, settings, own = "/128", [][2]string{{"net/ipv6/conf/all/forwarding", "1"}}, nil
	}
	if err := g.space.do(func() error {
		args := []string{"addr", "add", c.beyond.String() + bits, "dev", g.name}
		if c.family == ipv6 {
			args = append(args, "nodad")
		}
		return errors.Join(set(own), ip(args...))
	}); err != nil {
		return fmt.Errorf("forward: %w", err)
	}
	return r.space.do(func() error {
		if err := errors.Join(set(settings), ip("route", "add", c.beyond.String()+bits, "via", c.family.generator.String())); err != nil {
			return fmt.Errorf("forward: %w", err)
		}
		if f.nat == "" {
			return nil
		}
		if err := f.translate(c.family); err != nil {
			return fmt.Errorf("nftables: %w", err)
		}
		return nil
	})
}

// translate has the relay's end translate: what comes for its address goes on to the peers
// from an address of its own. Nothing is forgotten between rows.
func (f *forward) translate(of *family) error {
	word := "ip"
	if of == ipv6 {
		word = "ip6"
	}
	cmd := exec.Command(f.nat, "-f", "-")
	cmd.Stdin = strings.NewReader(fmt.Sprintf(`table %[1]s nat {
	chain in { type nat hook prerouting priority dstnat; %[1]s daddr %[2]v meta l4proto udp dnat to %[3]v; }
	chain out { type nat hook postrouting priority srcnat; %[1]s daddr %[3]v masquerade; }
}
`, word, of.relay, of.beyond))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return set([][2]string{{"net/netfilter/nf_conntrack_udp_timeout", "7200"}, {"net/netfilter/nf_conntrack_udp_timeout_stream", "7200"}})
}

func set(all [][2]string) error {
	var errs []error
	for _, s := range all {
		errs = append(errs, sysctl(s[0], s[1]))
	}
	return errors.Join(errs...)
}

// open makes a flow from a client straight to its peer.
func (f *forward) open(c *cable) (_ *flow, err error) {
	flow := &flow{verbatim: true}
	defer func() {
		if err != nil {
			flow.close()
		}
	}()
	if flow.peer, err = c.listen(c.beyond); err != nil {
		return nil, err
	}
	flow.server = address(flow.peer)
	if f.nat != "" {
		flow.server = netip.AddrPortFrom(c.family.relay, flow.server.Port())
	}
	if err := c.generator.space.do(func() (err error) {
		from := net.UDPAddrFromAddrPort(netip.AddrPortFrom(c.family.generator, 0))
		flow.client, err = net.DialUDP(c.network, from, net.UDPAddrFromAddrPort(flow.server))
		return err
	}); err != nil {
		return nil, err
	}
	if flow.relayed = address(flow.client); f.nat != "" {
		flow.relayed, err = flow.translated()
	}
	return flow, err
}

// translated has a flow begin, and returns the address that its peer sees.
func (f *flow) translated() (netip.AddrPort, error) {
	b := make([]byte, 16)
	var err error
	for range 10 {
		if _, err = f.client.Write([]byte("open")); err != nil {
			return netip.AddrPort{}, err
		}
		f.peer.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		var from netip.AddrPort
		if _, from, err = f.peer.ReadFromUDPAddrPort(b); err == nil {
			return netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), f.silence()
		}
	}
	return netip.AddrPort{}, fmt.Errorf("nothing is forwarded: %w", err)
}

// silence takes from a peer what has come twice.
func (f *flow) silence() error {
	f.peer.SetReadDeadline(time.Now())
	for {
		if _, _, err := f.peer.ReadFromUDPAddrPort(make([]byte, 16)); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}
