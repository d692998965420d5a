package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"switchboard/directory"
	"switchboard/relay"
	"switchboard/signaling/protocol"
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

// relays is what devices are told of the relays. It does not change once the
// first device is served.
type relays struct {
	stun, turn []string // URLs (RFC 7064, RFC 7065)
	own        []string // those of them that are of this process
	minter     *relay.Minter
}

func newRelays(c ICEConfig, secrets []relay.Secret, ttl time.Duration) (*relays, error) {
	m, err := relay.NewMinter(secrets, ttl)
	if err != nil {
		return nil, fmt.Errorf("relay.%w", err)
	}
	return &relays{stun: c.STUNURLs, turn: c.TURNURLs, minter: m}, nil
}

// add names a relay of this process, where none was configured.
func (r *relays) add(hosts []string, a relay.Addrs) {
	var stun, turn []string
	for _, host := range hosts {
		stun = append(stun, "stun:"+withPort(host, a.UDP))
		turn = append(turn, "turn:"+withPort(host, a.UDP)+"?transport=udp", "turn:"+withPort(host, a.TCP)+"?transport=tcp")
		if a.TLS != nil {
			turn = append(turn, "turns:"+withPort(host, a.TLS)+"?transport=tcp")
		}
	}
	if len(r.stun) == 0 {
		r.stun, r.own = stun, append(r.own, stun...)
	}
	if len(r.turn) == 0 {
		r.turn, r.own = turn, append(r.own, turn...)
	}
}

func withPort(host string, a net.Addr) string {
	_, port, _ := net.SplitHostPort(a.String())
	return net.JoinHostPort(host, port)
}

// Open lists the servers that need no credential.
func (r *relays) Open() protocol.ICE {
	if len(r.stun) == 0 {
		return protocol.ICE{Servers: []protocol.ICEServer{}}
	}
	return protocol.ICE{Servers: []protocol.ICEServer{{URLs: r.stun}}}
}

// For lists all servers, with credentials for one account's side of a call.
func (r *relays) For(call string, account directory.Account, began time.Time) protocol.ICE {
	ice := r.Open()
	if len(r.turn) == 0 {
		return ice
	}
	now := time.Now()
	username, password, expires := r.minter.Mint(call, string(account), began, now)
	ice.Servers = append(ice.Servers, protocol.ICEServer{URLs: r.turn, Username: username, Credential: password})
	ice.TTLMS = expires.Sub(now).Milliseconds()
	return ice
}

// relayHosts returns where devices find the relay of this process: under the
// configured name, or else at its public addresses, or the one that it listens
// on, or the one from which this machine reaches others.
func relayHosts(ice ICEConfig, c relay.Config) []string {
	if ice.Host != "" {
		return []string{ice.Host}
	}
	if len(c.PublicAddresses) > 0 {
		var hosts []string
		for _, a := range c.PublicAddresses {
			hosts = append(hosts, a.String())
		}
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
