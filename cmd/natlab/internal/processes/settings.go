package processes

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"switchboard/relay/natlab"
)

// Ports of the servers. Those below 1024 are what firewalls let out.
const (
	httpsPort = 443
	turnPort  = 3478
	natsPort  = 4222
	opsPort   = 8081 // on loopback
)

// nodeSettings are those of a signaling node. Development has it write one-time codes
// into a file, where the phones find them; a node has no relay whose policy it would
// change.
const nodeSettings = `development: true
roles: [signaling]
node: %s
region: %s
data_dir: %q
secret_file: %q
drain_deadline: 10s
log: {format: json}
http: {listen: ":%d", public_url: "https://%s", tls: {cert_file: %q, key_file: %q}}
`

// embeddedNATS has the only node's NATS listen for the relays.
const embeddedNATS = `nats: {relays: {listen: ":%d", cert_file: %q, key_file: %q, keys_file: %q}}
`

// serverNATS has nodes use the server of the lab.
const serverNATS = `nats: {url: "tls://%s:%d", ca_file: %q, replicas: 1}
`

// natsSettings are those of the NATS server. Whoever is in the lab may connect.
const natsSettings = `server_name: %s
listen: "0.0.0.0:%d"
jetstream { store_dir: %q, sync_interval: always }
tls { cert_file: %q, key_file: %q }
`

// relaySettings are those of a relay. Its peers are in the lab's internet, which is made of
// addresses that nobody has; private ones are denied as anywhere.
const relaySettings = `roles: [relay]
node: %s
region: %s
data_dir: %q
relay_secret_file: %q
drain_deadline: 1m
log: {format: json}
ice: {host: %s}
relay:
  listen: ":%d"
  tls: {listen: ":%d", cert_file: %q, key_file: %q}
  public_addresses: [%s]
  peers: {allow: [%s]}
  data_path: %s
ops: {listen: "127.0.0.1:%d"}
`

// relayNATS has a relay make itself known.
const relayNATS = `nats: {url: "tls://%s:%d", ca_file: %q%s}
`

// folder makes the folder of a server of a case.
func folder(dir, name string) (string, error) {
	dir = filepath.Join(dir, name)
	return dir, os.MkdirAll(dir, 0o700)
}

func writeSettings(dir, text string) (string, error) {
	file := filepath.Join(dir, "settings")
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// quoted is a list of addresses or prefixes, in YAML.
func quoted[T fmt.Stringer](list []T) string {
	var all []string
	for _, a := range list {
		all = append(all, fmt.Sprintf("%q", a.String()))
	}
	return strings.Join(all, ", ")
}

// private are the networks that peers of relays are never in, whatever routes to them: in
// the lab as elsewhere.
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("fc00::/7"),
}

// reachable are the networks of a topology that are to its relays what public ones are: the
// internet, and those with addresses that are not private.
func reachable(t natlab.Topology) []netip.Prefix {
	all := []netip.Prefix{natlab.Internet4, natlab.Internet6}
	for _, name := range slices.Sorted(maps.Keys(t.Networks)) {
		for _, p := range t.Networks[name].Prefixes {
			if !slices.ContainsFunc(private, p.Overlaps) && !slices.Contains(all, p) {
				all = append(all, p)
			}
		}
	}
	return all
}
