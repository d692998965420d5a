package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"switchboard/cmd/internal/iceservers"
	"switchboard/relay"
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

// newRelays is what devices are told of the relays.
func newRelays(c Config, secrets []relay.Secret) (*iceservers.List, error) {
	m, err := relay.NewMinter(secrets, c.Relay.CredentialTTL)
	if err != nil {
		return nil, fmt.Errorf("relay.%w", err)
	}
	return &iceservers.List{STUN: c.ICE.STUNURLs, TURN: c.ICE.TURNURLs, Name: c.Node, Region: c.Region, Minter: m}, nil
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
