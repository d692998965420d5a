package relay

import (
	"encoding"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

func TestDefaultIsValid(t *testing.T) {
	if err := Default().Validate(); err != nil {
		t.Error(err)
	}
}

func TestValidateNamesEveryKey(t *testing.T) {
	c := Config{
		Realm:            strings.Repeat("r", maxRealm+1),
		Listen:           "localhost",
		TLS:              TLSConfig{Listen: "x:y", CertFile: "/nowhere/cert.pem"},
		PublicAddresses:  []netip.Addr{{}, netip.MustParseAddr("1.1.1.1"), netip.MustParseAddr("::ffff:1.1.1.1")},
		BindAddresses:    []netip.Addr{netip.MustParseAddr("fe80::1%eth0")},
		AlternateServers: []netip.AddrPort{{}, netip.MustParseAddrPort("5.5.5.5:0"), netip.MustParseAddrPort("1.1.1.1:3478")},
		Ports:            PortRange{Min: 53, Max: 52},
		Secrets:          []Secret{{ID: "A", Key: Key("short")}, {ID: "b", Key: make(Key, 16)}, {ID: "b", Key: make(Key, 16)}},
		Peers: PeerConfig{
			Allow: []netip.Prefix{{}, netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("127.0.0.0/16"), netip.MustParsePrefix("0.0.0.0/0")},
			Deny:  []netip.Prefix{netip.MustParsePrefix("::ffff:10.0.0.0/104")},
		},
	}
	err := c.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, key := range []string{
		"realm:", "listen:", "tls.listen:", "tls: cert_file", "tls.cert_file:", "public_addresses: invalid IP", "public_addresses: 1.1.1.1 is there twice",
		"bind_addresses:", "relay_ports:", "secrets: 3", "secrets[0].id:", "secrets[0].key:", "secrets[2].id:", "credential_ttl:", "max_call:",
		"quotas.allocations_per_user:", "quotas.allocations_per_call:", "quotas.allocations_per_source:", "quotas.allocations:", "quotas.permissions:", "quotas.channels:",
		"limits.unauthenticated_per_second:", "limits.unauthenticated_total_per_second:", "limits.failed_auth_per_second:",
		"limits.allocations_per_user_per_second:", "limits.new_peers_per_second:", "peers.mode:", "alternate_servers: invalid AddrPort", "alternate_servers: 5.5.5.5:0 is not",
		"limits.connections:", "limits.connections_per_source:", "limits.handshake_timeout:", "limits.idle_timeout:",
		"peers.allow: not a network", "peers.allow: 10.1.2.3/8 has bits", "peers.allow: 127.0.0.0/16 includes", "peers.allow: 0.0.0.0/0 includes", "peers.deny: ::ffff:10",
	} {
		if !strings.Contains("\n"+err.Error(), "\n"+key) {
			t.Errorf("nothing about %s in\n%v", key, err)
		}
	}
}

// What depends on something else is told, too.
func TestValidateTogether(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*Config)
		want   string // nothing when it is valid
	}{
		{"only listed peers, and a list", func(c *Config) { c.Peers = PeerConfig{Mode: PeersListed, Allow: prefixes("10.0.0.0/8")} }, ""},
		{"only listed peers, and no list", func(c *Config) { c.Peers.Mode = PeersListed }, "peers.allow: empty"},
		{"some other mode", func(c *Config) { c.Peers.Mode = "all" }, `peers.mode: "all"`},
		{"as many as one address has ports", func(c *Config) {
			c.PublicAddresses, c.Quotas.Allocations = []netip.Addr{netip.MustParseAddr("5.5.5.5")}, 16384
		}, ""},
		{"more than one address has ports", func(c *Config) {
			c.PublicAddresses, c.Quotas.Allocations = []netip.Addr{netip.MustParseAddr("5.5.5.5")}, 16385
		}, "quotas.allocations: 16385"},
		{"as many as three addresses have ports", func(c *Config) {
			c.PublicAddresses = []netip.Addr{netip.MustParseAddr("5.5.5.5"), netip.MustParseAddr("5.5.5.6"), netip.MustParseAddr("2a00::1")}
			c.Quotas.Allocations = 3 * 16384
		}, ""},
		{"another relay", func(c *Config) { c.AlternateServers = []netip.AddrPort{netip.MustParseAddrPort("5.5.5.6:3478")} }, ""},
		{"itself, where it listens", func(c *Config) {
			c.Listen, c.AlternateServers = "5.5.5.5:3478", []netip.AddrPort{netip.MustParseAddrPort("5.5.5.5:3478")}
		}, "alternate_servers: 5.5.5.5:3478 is this relay"},
		{"itself, as others see it", func(c *Config) {
			c.PublicAddresses, c.AlternateServers = []netip.Addr{netip.MustParseAddr("5.5.5.5")}, []netip.AddrPort{netip.MustParseAddrPort("[::ffff:5.5.5.5]:3478")}
		}, "is this relay"},
		{"too many others", func(c *Config) {
			for i := range maxAddresses + 1 {
				c.AlternateServers = append(c.AlternateServers, netip.AddrPortFrom(netip.MustParseAddr("5.5.5.5"), uint16(1000+i)))
			}
		}, "alternate_servers: 17"},
		{"too many addresses", func(c *Config) {
			for i := range maxAddresses + 1 {
				c.PublicAddresses = append(c.PublicAddresses, netip.AddrFrom4([4]byte{5, 5, 5, byte(i)}))
			}
		}, "public_addresses: 17 addresses"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			test.change(&c)
			err := c.Validate()
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	c := Default()
	c.Development = true
	if _, err := New(c, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "secrets:") {
		t.Errorf("without secrets: %v", err)
	}
	c.Secrets = []Secret{{ID: "one", Key: make(Key, 16)}}
	c.Listen = "127.0.0.1:0"
	if _, err := New(c, Deps{}); err != nil {
		t.Errorf("development: %v", err)
	}
	c.Development = false
	if _, err := New(c, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "public_addresses:") {
		t.Errorf("loopback without development: %v", err)
	}
	c.PublicAddresses = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	if _, err := New(c, Deps{}); err == nil || !strings.HasPrefix(err.Error(), "public_addresses:") {
		t.Errorf("loopback that is public: %v", err)
	}
}

func TestConfigFromYAML(t *testing.T) {
	c := Default()
	err := yaml.Unmarshal([]byte(`
listen: 192.0.2.1:3478
public_addresses: [203.0.113.7, "2001:db8::7"]
relay_ports: {min: 50000, max: 50999}
secrets: [{id: "2026a", key: 000102030405060708090a0b0c0d0e0f}]
credential_ttl: 2h
quotas: {allocations: 100}
limits: {idle_timeout: 5s}
peers: {allow: [10.0.0.0/8], deny: [10.1.0.0/16]}
`), &c)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	if c.Secrets[0].Key[15] != 15 || c.CredentialTTL != 2*time.Hour || c.PublicAddresses[1] != netip.MustParseAddr("2001:db8::7") ||
		c.Peers.Allow[0] != netip.MustParsePrefix("10.0.0.0/8") || c.Ports.Min != 50000 || c.Quotas.Channels != 64 || c.Limits.IdleTimeout != 5*time.Second {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"peers: {allow: [10.0.0.0/33]}", "peers: {deny: [10.0.0]}", "secrets: [{id: a, key: xyz}]", "public_addresses: [localhost]"} {
		if err := yaml.Unmarshal([]byte(bad), &c); err == nil {
			t.Errorf("%s is read", bad)
		}
	}
}

func TestKeysDoNotPrint(t *testing.T) {
	s := Secret{ID: "one", Key: Key("sesame-sesame-16")}
	var out strings.Builder
	slog.New(slog.NewJSONHandler(&out, nil)).Info("config", "secret", s, "key", s.Key)
	slog.New(slog.NewTextHandler(&out, nil)).Info("config", "secret", s, "key", s.Key)
	y, err := yaml.Marshal(s)
	text := fmt.Sprintf("%v %+v %#v %s %v %s", s, s, s, s.Key, []Secret{s}, y) + out.String()
	if err != nil || strings.Contains(text, "sesame") || strings.Contains(text, "736573616d65") || strings.Contains(text, "c2VzYW1l") {
		t.Errorf("%s, %v", text, err)
	}
	var _ encoding.TextMarshaler = s.Key
}

func TestResolve(t *testing.T) {
	addr := netip.MustParseAddr
	routes := func(from ...string) func(netip.AddrPort) (netip.Addr, bool) {
		return func(to netip.AddrPort) (netip.Addr, bool) {
			for _, f := range from {
				if addr(f).Is4() == to.Addr().Is4() {
					return addr(f), true
				}
			}
			return netip.Addr{}, false
		}
	}
	lo := []netip.Addr{addr("127.0.0.1"), addr("::1")}
	cloud := surroundings{own: append(lo, addr("10.0.0.5")), route: routes("10.0.0.5")}
	server := surroundings{own: append(lo, addr("5.5.5.5"), addr("2a00::5")), route: routes("5.5.5.5", "2a00::5")}
	offline := surroundings{own: lo, route: routes()}
	for _, test := range []struct {
		name         string
		listen       string
		public, bind []string
		development  bool
		around       surroundings
		want         []string // public and bound, of IPv4 and then of IPv6
		err          string
	}{
		{name: "a server", listen: ":3478", around: server, want: []string{"5.5.5.5", "5.5.5.5", "2a00::5", "2a00::5"}},
		{name: "a server that listens on IPv4", listen: "0.0.0.0:3478", around: server, want: []string{"5.5.5.5", "5.5.5.5"}},
		{name: "a server that listens on one address", listen: "5.5.5.5:3478", around: server, want: []string{"5.5.5.5", "5.5.5.5"}},
		{name: "a cloud that does not say", listen: ":3478", around: cloud, err: "public_addresses: empty"},
		{name: "a cloud that says", listen: ":3478", public: []string{"5.5.5.5"}, around: cloud, want: []string{"5.5.5.5", "10.0.0.5"}},
		{name: "a cloud that says all", listen: ":3478", public: []string{"5.5.5.5"}, bind: []string{"10.0.0.6"}, around: cloud, want: []string{"5.5.5.5", "10.0.0.6"}},
		{name: "a cloud with several", listen: ":3478", public: []string{"5.5.5.5", "2a00::5", "5.5.5.6"}, bind: []string{"10.0.0.6", "10.0.0.7", "fd00::1"}, around: cloud,
			want: []string{"5.5.5.5", "10.0.0.6", "5.5.5.6", "10.0.0.7", "2a00::5", "fd00::1"}},
		{name: "a server with several", listen: ":3478", public: []string{"5.5.5.5", "127.0.0.2"}, development: true, around: surroundings{own: append(lo, addr("5.5.5.5"))},
			want: []string{"5.5.5.5", "5.5.5.5", "127.0.0.2", "127.0.0.2"}},
		{name: "a cloud that says which it is bound to of one", listen: ":3478", public: []string{"5.5.5.5", "5.5.5.6"}, bind: []string{"10.0.0.6"}, around: cloud, err: "bind_addresses: 1 for 2"},
		{name: "a cloud that does not say which is which", listen: ":3478", public: []string{"5.5.5.5", "5.5.5.6"}, around: cloud, err: "bind_addresses: 10.0.0.5 would be that of both"},
		{name: "a cloud without a way out", listen: ":3478", public: []string{"5.5.5.5"}, around: offline, err: "bind_addresses: empty"},
		{name: "a private network", listen: ":3478", public: []string{"10.0.0.5"}, around: cloud, want: []string{"10.0.0.5", "10.0.0.5"}},
		{name: "a developer's machine", listen: ":3478", development: true, around: cloud, want: []string{"10.0.0.5", "10.0.0.5", "::1", "::1"}},
		{name: "without a network", listen: ":3478", development: true, around: offline, want: []string{"127.0.0.1", "127.0.0.1", "::1", "::1"}},
		{name: "a test", listen: "127.0.0.1:0", development: true, around: cloud, want: []string{"127.0.0.1", "127.0.0.1"}},
		{name: "a test in production", listen: "127.0.0.1:0", around: cloud, err: "public_addresses: empty"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Config{Listen: test.listen, Development: test.development, Ports: PortRange{Min: 50000, Max: 50009}}
			for _, p := range test.public {
				c.PublicAddresses = append(c.PublicAddresses, addr(p))
			}
			for _, b := range test.bind {
				c.BindAddresses = append(c.BindAddresses, addr(b))
			}
			a, err := c.resolve(test.around)
			if test.err != "" {
				if err == nil || !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("%+v, %v", a, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, list := range [][]relayAddress{a.four, a.six} {
				for _, r := range list {
					got = append(got, r.public.String(), r.bind.String())
				}
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestMint(t *testing.T) {
	one, two := Secret{ID: "one", Key: Key("0123456789abcdef")}, Secret{ID: "two", Key: Key("fedcba9876543210")}
	m, err := NewMinter([]Secret{one, two}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	noon := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	username, password, expires := m.Mint("call-1", "alice", noon, noon)
	if !expires.Equal(noon.Add(time.Hour)) || strings.Contains(username, "alice") || len(username) > maxUsername {
		t.Errorf("%s until %v", username, expires)
	}
	ring := &keyring{realm: "r", secrets: []Secret{two, one}, maxCall: time.Hour}
	who, key, err := ring.key(username, "r", true, noon)
	if err != nil || who.call != "call-1" || len(key) != 16 {
		t.Errorf("%v, %v", who, err)
	}
	if again, _, _ := m.Mint("call-1", "alice", noon, noon); again != username {
		t.Error("minting the same gives something else")
	}
	for _, test := range []struct {
		name  string
		realm string
		opens bool
		at    time.Time
		want  error
	}{
		{"at its end", "r", true, expires, nil},
		{"after its end", "r", true, expires.Add(time.Second), errExpired},
		{"after its end, for what is open", "r", false, expires.Add(time.Second), nil},
		{"when the call must be over", "r", false, expires.Add(time.Hour + time.Second), errExpired},
		{"elsewhere", "s", true, noon, errRealm},
	} {
		if _, _, err := ring.key(username, test.realm, test.opens, test.at); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	user := func(call, user string, at time.Time) string {
		u, _, _ := m.Mint(call, user, at, at)
		who, _, _, err := ring.parse(u)
		if err != nil {
			t.Fatalf("%s: %v", u, err)
		}
		return who.user
	}
	alice := user("call-1", "alice", noon)
	if user("call-2", "alice", noon.Add(time.Hour)) != alice {
		t.Error("a user is somebody else in the next call")
	}
	late, _, _ := m.Mint("call-1", "alice", noon, noon.Add(13*time.Hour))
	if who, _, _, err := ring.parse(late); err != nil || who.user != alice {
		t.Errorf("a user is somebody else in a call that goes on past midnight: %v, %v", who, err)
	}
	if user("call-1", "bob", noon) == alice || user("call-1", "alice", noon.AddDate(0, 0, 1)) == alice {
		t.Error("two users are one, or one can be followed for days")
	}
	for _, call := range []string{"", "a:b", "späte", strings.Repeat("c", 100)} {
		u, p, _ := m.Mint(call, "alice", noon, noon)
		if _, _, _, err := ring.parse(u); err != nil || p == password {
			t.Errorf("call %q gives %s: %v", call, u, err)
		}
	}
	for _, bad := range [][]Secret{nil, {{ID: "one", Key: Key("short")}}, {one, one}} {
		if _, err := NewMinter(bad, time.Hour); err == nil {
			t.Errorf("a minter with %v", bad)
		}
	}
}

func FuzzUsername(f *testing.F) {
	m, err := NewMinter([]Secret{{ID: "one", Key: make(Key, 16)}}, time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	ring := &keyring{realm: "r", secrets: []Secret{m.secret}, maxCall: time.Hour}
	now := time.Unix(1_800_000_000, 0)
	for _, u := range []string{"1800000000:one:call:user", ":::", "::::", "-1:one:a:b", "99999999999999999999:one:a:b", "1800000000:one::"} {
		f.Add(u, "call", "user")
	}
	f.Fuzz(func(t *testing.T, username, call, user string) {
		if who, key, err := ring.key(username, "r", true, now); err == nil {
			at := client{addr: netip.MustParseAddrPort("[2a00::1]:5000"), over: overTLS}
			again, from, err := parseUserID(userID(who, at))
			if who.call == "" || who.user == "" || len(key) != 16 || again != who || from != at || err != nil {
				t.Errorf("%q gives %v, and back %v from %v, %v", username, who, again, from, err)
			}
		}
		u, _, expires := m.Mint(call, user, now, now)
		_, s, until, err := ring.parse(u)
		if err != nil || s.ID != "one" || !until.Equal(expires) {
			t.Errorf("%q: %v", u, err)
		}
	})
}
