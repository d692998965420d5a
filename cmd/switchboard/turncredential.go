package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"switchboard/cmd/internal/iceservers"
	"switchboard/relay"
)

// maxTurnTTL bounds how long credentials that are made by hand may open allocations, as
// relay.credential_ttl is bounded.
const maxTurnTTL = 48 * time.Hour

// iceServer is an RTCIceServer, an entry of iceServers of an RTCPeerConnection.
type iceServer struct {
	URLs       []string `json:"urls"`
	Username   string   `json:"username"`
	Credential string   `json:"credential"`
}

// turnCredential makes credentials as a signaling node with these settings would, and
// asks nobody.
func (p program) turnCredential(args []string) error {
	f := flags("turn-credential")
	file := p.configFlag(f)
	user := f.String("user", "test", "whom quotas count the allocations of")
	call := f.String("call", "test", "the `id` of the call")
	ttl := f.Duration("ttl", 0, "how long they open allocations; 0 is relay.credential_ttl")
	list := f.String("urls", "", "the relay's `URLs`, separated by commas")
	asJSON := f.Bool("json", false, "an entry of iceServers")
	if err := parse(f, args); err != nil {
		return err
	}
	c, _, err := Load(*file, p.environ)
	if err != nil {
		return usageError{err}
	}
	c = c.implied()
	lasts := cmp.Or(*ttl, c.Relay.CredentialTTL)
	if lasts < time.Second || lasts > maxTurnTTL {
		return usageError{fmt.Errorf("turn-credential: -ttl: %v is not within 1s to %v", lasts, maxTurnTTL)}
	}
	if *user == "" || *call == "" {
		return usageError{errors.New("turn-credential: -user and -call must not be empty")}
	}
	to, err := turnURLs(c, *list)
	if err != nil {
		return usageError{fmt.Errorf("turn-credential: %w", err)}
	}
	secrets, err := mintingSecrets(c)
	if err != nil {
		return usageError{err}
	}
	m, err := relay.NewMinter(secrets, lasts)
	if err != nil {
		return usageError{fmt.Errorf("relay.%w", err)}
	}
	now := time.Now()
	username, password, expires := m.Mint(*call, *user, now, now)
	if *asJSON {
		return p.printJSON(iceServer{to, username, password})
	}
	fmt.Fprintf(p.stdout, "username  %s\npassword  %s\nexpires   %s\n", username, password, moment(expires))
	for _, u := range to {
		fmt.Fprintf(p.stdout, "url       %s\n", u)
	}
	return nil
}

// mintingSecrets are those of relays as the server has them. It makes none, as a server
// in development does: credentials under it would be good nowhere.
func mintingSecrets(c Config) ([]relay.Secret, error) {
	var master Secret
	if len(c.Relay.Secrets) == 0 && c.RelaySecretFile == "" {
		var err error
		if master, err = readSecret("secret_file", c.SecretFile); err != nil {
			return nil, err
		}
	}
	return relaySecrets(c, master)
}

// turnURLs are those in list, or else those of the settings: of ice.turn_urls, and of the
// relay that a process with them has.
func turnURLs(c Config, list string) ([]string, error) {
	if list != "" {
		given := ICEConfig{TURNURLs: strings.Split(list, ",")}
		if err := given.validate(); err != nil {
			return nil, fmt.Errorf("-urls: %s", strings.TrimPrefix(err.Error(), "ice.turn_urls: "))
		}
		return given.TURNURLs, nil
	}
	all := slices.Clone(c.ICE.TURNURLs)
	if c.Has(RoleRelay) {
		own, err := ownTURNURLs(c)
		if err != nil {
			return nil, err
		}
		all = append(all, own...)
	}
	if len(all) == 0 {
		return nil, errors.New("the settings name no relay: they have no ice.turn_urls, and not the role relay; give -urls")
	}
	return all, nil
}

func ownTURNURLs(c Config) ([]string, error) {
	at, err := net.ResolveTCPAddr("tcp", c.Relay.Listen)
	if err != nil {
		return nil, fmt.Errorf("relay.listen: %w", err)
	}
	if at.Port == 0 {
		return nil, fmt.Errorf("relay.listen: %q leaves the port open; give -urls", c.Relay.Listen)
	}
	addrs := relay.Addrs{UDP: at, TCP: at}
	if c.Relay.TLS.CertFile != "" {
		if addrs.TLS, err = net.ResolveTCPAddr("tcp", c.Relay.TLS.Listen); err != nil {
			return nil, fmt.Errorf("relay.tls.listen: %w", err)
		}
	}
	return iceservers.URLsOf(relayHosts(c.ICE, c.Relay), addrs).TURN, nil
}
