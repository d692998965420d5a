package relay

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"switchboard/relay/internal/datagram"
)

// Config is how a relay listens, whom it serves and what it relays to.
type Config struct {
	// Realm is the realm of the credentials (RFC 8489 section 9.2), 1 to 24
	// bytes. It is part of every answer to who has no credentials yet, and a
	// longer one would make the relay worth abusing as an amplifier.
	Realm string `yaml:"realm"`
	// Listen is where clients reach the relay over UDP and over TCP: an IP
	// address and a port, or a port alone as in ":3478" for all addresses. A
	// machine with several addresses of one family must name one, or answers
	// over UDP may leave from another.
	Listen string `yaml:"listen"`
	// TLS is where clients reach the relay over TLS.
	TLS TLSConfig `yaml:"tls"`
	// PublicAddresses are the addresses that clients' peers see, at most 16 of
	// each family; each has all of Ports, and allocations are spread over them.
	// Empty takes the one in Listen, or else the address from which this machine
	// reaches the internet.
	PublicAddresses []netip.Addr `yaml:"public_addresses"`
	// BindAddresses are the addresses of this machine that relay sockets are
	// bound to: of each family as many as are public, and in their order, or none.
	// Empty takes the public ones where they are this machine's own, and else the
	// address from which it reaches the internet, as behind the one-to-one NAT of
	// a cloud.
	BindAddresses []netip.Addr `yaml:"bind_addresses"`
	// AlternateServers are other relays, for UDP and TCP, to which clients are sent
	// that this one does not take because it drains or is full: 300 (Try Alternate,
	// RFC 8489 section 10), in turn those of the client's family. At most 16.
	// Without one clients are told 508 (Insufficient Capacity).
	AlternateServers []netip.AddrPort `yaml:"alternate_servers"`
	// Ports are the ports of relay sockets. Firewalls must let UDP to them in.
	Ports PortRange `yaml:"relay_ports"`
	// Secrets are the keys of credentials, at most two. The first one mints;
	// both are accepted, so that secrets rotate without a gap.
	Secrets []Secret `yaml:"secrets"`
	// CredentialTTL is how long after minting credentials may open allocations.
	CredentialTTL time.Duration `yaml:"credential_ttl"`
	// MaxCall is how long after they expired credentials may keep what they
	// opened, and so the longest relayed call.
	MaxCall time.Duration `yaml:"max_call"`
	// Quotas bound what exists at the same time.
	Quotas Quotas `yaml:"quotas"`
	// Limits bound what clients can do, above all those without credentials.
	Limits Limits `yaml:"limits"`
	// Bandwidth bounds what is relayed.
	Bandwidth Bandwidth `yaml:"bandwidth"`
	// Listeners is how many sockets receive from clients over UDP, all on the same port;
	// the kernel gives each client to one of them for good. 0 is one for each processor.
	Listeners int `yaml:"listeners"`
	// DataPath is who relays packets of channels over UDP: "ebpf" for the kernel, without
	// which the relay does not start; "user" for this process, in batches; "auto" for the
	// kernel where it can; "plain" for this process with a system call a packet, as on
	// systems other than Linux. A process that is not root gives up CAP_BPF, and where
	// it can CAP_NET_ADMIN, once the kernel relays.
	DataPath string `yaml:"data_path"`
	// Peers are those whom packets may be relayed to.
	Peers PeerConfig `yaml:"peers"`
	// Development allows peers with loopback and private addresses, and the
	// relay to be on one. Everyone with credentials then reaches what listens
	// on this machine and in its network.
	Development bool `yaml:"development"`
}

// TLSConfig is the TLS listener. Without a certificate there is none.
type TLSConfig struct {
	// Listen is an address like [Config.Listen].
	Listen string `yaml:"listen"`
	// CertFile and KeyFile are the certificate with its chain, and its key, as
	// PEM. They are read again when they change.
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// PortRange is a range of ports with both its ends.
type PortRange struct {
	Min uint16 `yaml:"min"`
	Max uint16 `yaml:"max"`
}

func (r PortRange) contains(p uint16) bool { return r.Min <= p && p <= r.Max }
func (r PortRange) size() int              { return int(r.Max) - int(r.Min) + 1 }

// Secret is a key that signaling mints credentials with and relays check them
// with.
type Secret struct {
	// ID names the secret inside usernames: 1 to 16 of a-z, 0-9.
	ID string `yaml:"id"`
	// Key is at least 16 random bytes; in YAML, in hexadecimal.
	Key Key `yaml:"key"`
}

// Key is the key of a [Secret]. It does not print.
type Key []byte

// UnmarshalText reads hexadecimal.
func (k *Key) UnmarshalText(text []byte) error {
	b := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(b, text); err != nil {
		return errors.New("key: not hexadecimal")
	}
	*k = b
	return nil
}

// MarshalText hides the key, as String does.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// String keeps the key out of whatever prints a value that holds it.
func (k Key) String() string { return "[key]" }

// GoString keeps %#v from printing the key.
func (k Key) GoString() string { return k.String() }

// Quotas bound what exists at the same time, against clients that take all.
type Quotas struct {
	// AllocationsPerUser is for one user over all of the user's calls. A
	// browser opens one for each transport and network it has.
	AllocationsPerUser int `yaml:"allocations_per_user"`
	// AllocationsPerCall is for one call, both of its sides together.
	AllocationsPerCall int `yaml:"allocations_per_call"`
	// AllocationsPerSource is for one IPv4 address or IPv6 /56. Offices and
	// mobile networks have many users behind one.
	AllocationsPerSource int `yaml:"allocations_per_source"`
	// Allocations is for the relay. Each takes a port, a socket, and some
	// 17 KiB.
	Allocations int `yaml:"allocations"`
	// Permissions and Channels are for one allocation. Who needs more of them
	// scans networks.
	Permissions int `yaml:"permissions"`
	Channels    int `yaml:"channels"`
}

// Limits bound how fast clients may do what costs something, and what those can
// do who have not shown credentials.
type Limits struct {
	// UnauthenticatedPerSecond is how many answers without authentication an
	// IPv4 address or IPv6 /56 is sent, so that the relay is of no use to flood
	// an address that an attacker claims to have. Twice as many may come at once.
	UnauthenticatedPerSecond int `yaml:"unauthenticated_per_second"`
	// UnauthenticatedTotalPerSecond is for all of them together, so that a flood
	// from many invented addresses takes only so much work. Twice as many may come
	// at once. Beyond it who has no nonce yet waits.
	UnauthenticatedTotalPerSecond int `yaml:"unauthenticated_total_per_second"`
	// FailedAuthPerSecond is how many of these answers may be to wrong credentials,
	// twice that at once.
	FailedAuthPerSecond int `yaml:"failed_auth_per_second"`
	// AllocationsPerUserPerSecond is how fast a user may open allocations, five
	// times that at once.
	AllocationsPerUserPerSecond int `yaml:"allocations_per_user_per_second"`
	// NewPeersPerSecond is how fast an allocation may be permitted peers that it
	// had not been permitted, 64 at once. Who needs more scans networks.
	NewPeersPerSecond int `yaml:"new_peers_per_second"`
	// Connections and ConnectionsPerSource bound open TCP and TLS connections.
	Connections          int `yaml:"connections"`
	ConnectionsPerSource int `yaml:"connections_per_source"`
	// HandshakeTimeout bounds the TLS handshake, and then the time to the first
	// complete message.
	HandshakeTimeout time.Duration `yaml:"handshake_timeout"`
	// IdleTimeout is how long a connection without an allocation may be silent,
	// and how long any may take to send the rest of a message.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
}

// PeerMode says who may be a peer.
type PeerMode string

const (
	// PeersPublic are all public unicast addresses, and those of
	// [PeerConfig.Allow].
	PeersPublic PeerMode = "public"
	// PeersListed are those of [PeerConfig.Allow] and nobody else, for a relay
	// whose clients talk to media servers of its operator's alone.
	PeersListed PeerMode = "listed"
)

// PeerConfig says whom packets may be relayed to.
type PeerConfig struct {
	// Mode is the rule.
	Mode PeerMode `yaml:"mode"`
	// Allow are networks that may be relayed to though they are not public,
	// such as that of an own media server. Never loopback, link-local or
	// multicast, and never this relay's own services.
	Allow []netip.Prefix `yaml:"allow"`
	// Deny are networks that may not be relayed to. It wins over Allow.
	Deny []netip.Prefix `yaml:"deny"`
}

// Default returns the settings that hold where nothing else is said.
func Default() Config {
	return Config{
		Realm:         "switchboard",
		Listen:        ":3478",
		TLS:           TLSConfig{Listen: ":5349"},
		Ports:         PortRange{Min: 49152, Max: 65535},
		CredentialTTL: time.Hour,
		MaxCall:       24 * time.Hour,
		Quotas: Quotas{
			AllocationsPerUser:   12,
			AllocationsPerCall:   24,
			AllocationsPerSource: 512,
			Allocations:          8000,
			Permissions:          64,
			Channels:             64,
		},
		Limits: Limits{
			UnauthenticatedPerSecond:      50,
			UnauthenticatedTotalPerSecond: 20000,
			FailedAuthPerSecond:           5,
			AllocationsPerUserPerSecond:   2,
			NewPeersPerSecond:             5,
			Connections:                   10000,
			ConnectionsPerSource:          512,
			HandshakeTimeout:              5 * time.Second,
			IdleTimeout:                   30 * time.Second,
		},
		Bandwidth: Bandwidth{PerAllocation: 10, PerUser: 40},
		DataPath:  DataPathAuto,
		Peers:     PeerConfig{Mode: PeersPublic},
	}
}

// The values of [Config.DataPath].
const (
	DataPathAuto  = "auto"
	DataPathEBPF  = "ebpf"
	DataPathUser  = "user"
	DataPathPlain = "plain"
)

// dataPaths are all of them.
var dataPaths = []string{DataPathAuto, DataPathEBPF, DataPathUser, DataPathPlain}

// maxListeners is more than a machine has processors for this.
const maxListeners = 256

// listeners is how many sockets receive from clients over UDP.
func (c Config) listeners() int {
	switch {
	case !canShare:
		return 1
	case c.Listeners > 0:
		return c.Listeners
	}
	return min(runtime.GOMAXPROCS(0), maxListeners)
}

// how is how packets are received and sent.
func (c Config) how() datagram.How {
	if c.DataPath == DataPathPlain {
		return datagram.OneByOne
	}
	return datagram.Auto
}

// maxRealm is such that the answer to the smallest Allocate request is at most
// 1.9 times as long as it, headers counted; a test measures it.
const maxRealm = 24

// Validate returns every problem at once, each naming its key. Secrets may
// still be missing; [New] wants one.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.Realm == "" || len(c.Realm) > maxRealm || !printable(c.Realm), "realm: %q is not 1 to %d printable ASCII characters", c.Realm, maxRealm)
	errs = append(errs, checkListen("listen", c.Listen))
	if c.TLS.CertFile != "" || c.TLS.KeyFile != "" {
		errs = append(errs, checkListen("tls.listen", c.TLS.Listen))
	}
	bad((c.TLS.CertFile == "") != (c.TLS.KeyFile == ""), "tls: cert_file and key_file go together; one of them is empty")
	errs = append(errs, checkFile("tls.cert_file", c.TLS.CertFile), checkFile("tls.key_file", c.TLS.KeyFile))
	errs = append(errs, checkAddresses("public_addresses", c.PublicAddresses), checkAddresses("bind_addresses", c.BindAddresses))
	errs = append(errs, c.checkAlternates())
	bad(c.Ports.Min < 1024 || c.Ports.Max < c.Ports.Min, "relay_ports: %d to %d is not a range above 1023", c.Ports.Min, c.Ports.Max)
	errs = append(errs, checkSecrets(c.Secrets))
	bad(c.CredentialTTL < time.Minute || c.CredentialTTL > 48*time.Hour, "credential_ttl: %v is not within 1m to 48h", c.CredentialTTL)
	bad(c.MaxCall < time.Minute || c.MaxCall > 30*24*time.Hour, "max_call: %v is not within 1m to 720h", c.MaxCall)
	errs = append(errs, between("listeners", c.Listeners, 0, maxListeners))
	bad(!slices.Contains(dataPaths, c.DataPath), "data_path: %q is none of %s", c.DataPath, strings.Join(dataPaths, ", "))
	errs = append(errs, c.Bandwidth.validate()...)
	errs = append(errs, c.Quotas.validate(c.maxAllocations()), c.Limits.validate(), c.Peers.validate())
	return errors.Join(errs...)
}

// maxAllocations is how many relay sockets there may be: each address has all
// ports. Without public_addresses there is one of each family.
func (c Config) maxAllocations() int {
	n := len(c.PublicAddresses)
	if n == 0 {
		n = 2
	}
	return max(c.Ports.size(), 1) * n
}

// maxAddresses bounds the addresses of a family, and the alternate servers: they
// are looked through for each packet, and each request.
const maxAddresses = 16

func (c Config) checkAlternates() error {
	var errs []error
	if n := len(c.AlternateServers); n > maxAddresses {
		errs = append(errs, fmt.Errorf("alternate_servers: %d; at most %d", n, maxAddresses))
	}
	listen, _ := parseListen(c.Listen) // what is wrong with it is said elsewhere
	for _, to := range c.AlternateServers {
		a := to.Addr().Unmap()
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || to.Port() == 0:
			errs = append(errs, fmt.Errorf("alternate_servers: %v is not the address and port of a relay", to))
		case to.Port() == listen.Port() && (a == listen.Addr() || slices.Contains(c.PublicAddresses, a)):
			errs = append(errs, fmt.Errorf("alternate_servers: %v is this relay", to))
		}
	}
	return errors.Join(errs...)
}

func (q Quotas) validate(most int) error {
	return errors.Join(
		between("quotas.allocations_per_user", q.AllocationsPerUser, 1, 1000),
		between("quotas.allocations_per_call", q.AllocationsPerCall, 1, 1000),
		between("quotas.allocations_per_source", q.AllocationsPerSource, 1, 65536),
		between("quotas.allocations", q.Allocations, 1, most),
		between("quotas.permissions", q.Permissions, 1, 1024),
		between("quotas.channels", q.Channels, 1, 1024),
	)
}

func (l Limits) validate() error {
	var errs []error
	for _, d := range []struct {
		key string
		d   time.Duration
	}{{"handshake_timeout", l.HandshakeTimeout}, {"idle_timeout", l.IdleTimeout}} {
		if d.d <= 0 || d.d > 10*time.Minute {
			errs = append(errs, fmt.Errorf("limits.%s: %v is not within 1ns to 10m", d.key, d.d))
		}
	}
	return errors.Join(append(errs,
		between("limits.unauthenticated_per_second", l.UnauthenticatedPerSecond, 1, 100000),
		between("limits.unauthenticated_total_per_second", l.UnauthenticatedTotalPerSecond, 1, 10000000),
		between("limits.failed_auth_per_second", l.FailedAuthPerSecond, 1, 100000),
		between("limits.allocations_per_user_per_second", l.AllocationsPerUserPerSecond, 1, 100000),
		between("limits.new_peers_per_second", l.NewPeersPerSecond, 1, 100000),
		between("limits.connections", l.Connections, 1, 1000000),
		between("limits.connections_per_source", l.ConnectionsPerSource, 1, 1000000),
	)...)
}

func (p PeerConfig) validate() error {
	var errs []error
	switch {
	case p.Mode != PeersPublic && p.Mode != PeersListed:
		errs = append(errs, fmt.Errorf("peers.mode: %q is not one of %s, %s", p.Mode, PeersPublic, PeersListed))
	case p.Mode == PeersListed && len(p.Allow) == 0:
		errs = append(errs, errors.New("peers.allow: empty, and peers.mode is listed: nobody could be reached"))
	}
	for _, list := range []struct {
		key      string
		prefixes []netip.Prefix
	}{{"peers.allow", p.Allow}, {"peers.deny", p.Deny}} {
		for _, n := range list.prefixes {
			switch {
			case !n.IsValid():
				errs = append(errs, fmt.Errorf("%s: not a network such as 10.0.0.0/8", list.key))
			case n.Addr().Is4In6():
				errs = append(errs, fmt.Errorf("%s: %v: write the IPv4 network itself; IPv4 in IPv6 is always judged as IPv4", list.key, n))
			case n != n.Masked():
				errs = append(errs, fmt.Errorf("%s: %v has bits beyond its mask; %v is the network", list.key, n, n.Masked()))
			}
		}
	}
	for _, n := range p.Allow {
		for _, f := range forbidden {
			if n.IsValid() && n.Overlaps(f) {
				errs = append(errs, fmt.Errorf("peers.allow: %v includes addresses of %v, which are never relayed to", n, f))
			}
		}
	}
	return errors.Join(errs...)
}

var isSecretID = regexp.MustCompile(`^[a-z0-9]{1,16}$`)

// minKey is the least length of a key, in bytes: nobody guesses 128 bits.
const minKey = 16

func checkSecrets(secrets []Secret) error {
	var errs []error
	if len(secrets) > 2 {
		errs = append(errs, fmt.Errorf("secrets: %d; one mints and at most one more is accepted", len(secrets)))
	}
	seen := make(map[string]bool)
	for i, s := range secrets {
		if !isSecretID.MatchString(s.ID) {
			errs = append(errs, fmt.Errorf("secrets[%d].id: %q is not 1 to 16 of a-z, 0-9", i, s.ID))
		}
		if seen[s.ID] {
			errs = append(errs, fmt.Errorf("secrets[%d].id: %q is there twice", i, s.ID))
		}
		seen[s.ID] = true
		if len(s.Key) < minKey {
			errs = append(errs, fmt.Errorf("secrets[%d].key: shorter than %d bytes", i, minKey))
		}
	}
	return errors.Join(errs...)
}

func checkListen(key, listen string) error {
	if _, err := parseListen(listen); err != nil {
		return fmt.Errorf("%s: %q is not a port such as :3478, or an IP address with one", key, listen)
	}
	return nil
}

// parseListen returns the address to listen on; unspecified stands for all.
func parseListen(listen string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addr := netip.IPv6Unspecified()
	if host != "" {
		if addr, err = netip.ParseAddr(host); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(p)), nil
}

func checkFile(key, file string) error {
	if file == "" {
		return nil
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return f.Close()
}

func checkAddresses(key string, addrs []netip.Addr) error {
	var errs []error
	seen := make(map[netip.Addr]bool)
	for _, a := range addrs {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			errs = append(errs, fmt.Errorf("%s: %v is not the address of a machine", key, a))
		}
		if a = a.Unmap(); seen[a] {
			errs = append(errs, fmt.Errorf("%s: %v is there twice", key, a))
		}
		seen[a] = true
	}
	for _, is := range []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6} {
		if n := len(family(addrs, is)); n > maxAddresses {
			errs = append(errs, fmt.Errorf("%s: %d addresses of a family; at most %d", key, n, maxAddresses))
		}
	}
	return errors.Join(errs...)
}

func between(key string, n, least, most int) error {
	if n < least || n > most {
		return fmt.Errorf("%s: %d is not within %d to %d", key, n, least, most)
	}
	return nil
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}
