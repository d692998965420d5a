// Package fleet runs a whole installation on loopback, for people to try and
// for tests to break: NATS servers in a cluster, and nodes on it, each a process
// that can be killed, paused and started again.
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"switchboard/directory/natsnode/loopback"
)

// Config says what to run.
type Config struct {
	// Dir is where everything keeps its files.
	Dir string
	// NATS and Switchboard are the programs.
	NATS, Switchboard string
	// Servers and Nodes are how many of each: of servers 1, 3 or 5, or 0 for one
	// node that has NATS inside.
	Servers, Nodes int
	// ServerSettings are added to those of every NATS server.
	ServerSettings string
	// SyncInterval is how often NATS servers sync what they have stored; empty is
	// always, which alone keeps their word when the power fails.
	SyncInterval string
	// Settings are added to those of every node, as YAML.
	Settings string
	// Relays are processes that have no other role. They need a NATS server: Servers
	// must not be 0.
	Relays []Relay
	// Log receives what the processes say, each line after the name of its
	// process. It may be nil.
	Log io.Writer
}

// Fleet is a running installation. Its methods may be called concurrently, those
// of one process one after the other.
type Fleet struct {
	Servers []*Process
	Nodes   []*Node
	Relays  []*Node // without URL and Codes; those of Config, in its order
	// NATS lists the servers' URLs, separated by commas.
	NATS string
}

// Node is a process of Switchboard's.
type Node struct {
	*Process
	// URL is the public one; Ops and Admin are addresses of operators' listeners.
	URL, Ops, Admin string
	// Codes is the file with one-time codes, AdminToken that with the token for
	// the operators' API.
	Codes, AdminToken string
	// Settings is the file of its settings.
	Settings string
}

// startWithin bounds how long a process may take until it is ready.
const startWithin = 60 * time.Second

// Start starts everything and returns when it is ready, or what went wrong.
// Nothing is left running then. What runs ends with [Fleet.Close], not with ctx.
func Start(ctx context.Context, c Config) (*Fleet, error) {
	if c.Log == nil {
		c.Log = io.Discard
	}
	log := &lines{to: c.Log}
	f := &Fleet{}
	err := f.start(ctx, c, log)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (f *Fleet) start(ctx context.Context, c Config, log *lines) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	urls, err := f.startServers(ctx, c, log)
	if err != nil {
		return err
	}
	f.NATS = urls
	secret := filepath.Join(c.Dir, "secret")
	if err := writeSecret(ctx, c.Switchboard, secret); err != nil {
		return err
	}
	for _, r := range c.Relays {
		n, err := newRelay(c, log, r, urls, secret)
		if err != nil {
			return err
		}
		f.Relays = append(f.Relays, n)
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	for i := range c.Nodes {
		n, err := newNode(c, log, fmt.Sprintf("node%d", i+1), urls, secret)
		if err != nil {
			return err
		}
		f.Nodes = append(f.Nodes, n)
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) startServers(ctx context.Context, c Config, log *lines) (urls string, err error) {
	if c.Servers == 0 {
		return "", nil
	}
	ports, err := loopback.Ports(3 * c.Servers)
	if err != nil {
		return "", err
	}
	clients, routes, monitors := ports[:c.Servers], ports[c.Servers:2*c.Servers], ports[2*c.Servers:]
	var all []string
	for i := range c.Servers {
		all = append(all, fmt.Sprintf("nats://127.0.0.1:%d", clients[i]))
		p, err := newServer(c, log, i, clients, routes, monitors[i])
		if err != nil {
			return "", err
		}
		f.Servers = append(f.Servers, p)
	}
	// All at once: a server of a cluster is ready when it has a leader.
	for _, p := range f.Servers {
		if err := p.launch(); err != nil {
			return "", err
		}
	}
	for _, p := range f.Servers {
		if err := p.await(ctx); err != nil {
			return "", err
		}
	}
	return strings.Join(all, ","), nil
}

// Close ends everything, nodes first, and waits for that.
func (f *Fleet) Close() error {
	var errs []error
	for _, n := range slices.Concat(f.Nodes, f.Relays) {
		errs = append(errs, n.terminate())
	}
	for _, n := range slices.Concat(f.Nodes, f.Relays) {
		errs = append(errs, n.wait())
	}
	for _, s := range f.Servers {
		errs = append(errs, s.Kill())
	}
	return errors.Join(errs...)
}

// serverConfig is that of one of the NATS servers.
const serverConfig = `server_name: %s
listen: 127.0.0.1:%d
http: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: %q }
cluster { name: switchboard, listen: 127.0.0.1:%d, routes: [%s] }
ping_interval: 2s
ping_max: 2
`

// aloneConfig is that of the only one.
const aloneConfig = `server_name: %s
listen: 127.0.0.1:%d
http: 127.0.0.1:%d
jetstream { store_dir: %q, sync_interval: %q }
`

func newServer(c Config, log *lines, i int, clients, routes []int, monitor int) (*Process, error) {
	name := fmt.Sprintf("nats%d", i+1)
	dir := filepath.Join(c.Dir, name)
	var others []string
	for _, r := range routes {
		others = append(others, fmt.Sprintf("nats://127.0.0.1:%d", r))
	}
	every := cmp.Or(c.SyncInterval, "always")
	text := fmt.Sprintf(serverConfig, name, clients[i], monitor, filepath.Join(dir, "data"), every, routes[i], strings.Join(others, ", "))
	if len(clients) == 1 {
		text = fmt.Sprintf(aloneConfig, name, clients[i], monitor, filepath.Join(dir, "data"), every)
	}
	file := filepath.Join(dir, "nats.conf")
	if err := write(file, text+c.ServerSettings+"\n"); err != nil {
		return nil, err
	}
	return &Process{
		Name: name, log: log, args: []string{c.NATS, "-c", file},
		ready: func() bool { return answersOK(fmt.Sprintf("http://127.0.0.1:%d/healthz", monitor)) },
	}, nil
}

// nodeConfig is that of one of the nodes, each with a relay of its own.
const nodeConfig = `development: true
node: %s
data_dir: %q
secret_file: %q
nats: {url: %q, replicas: %d}
http: {listen: "127.0.0.1:%d", public_url: %q}
ops: {listen: %q}
admin: {listen: %q}
relay: {listen: "127.0.0.1:%d"}
drain_deadline: 5s
%s
`

func newNode(c Config, log *lines, name, urls, secret string) (*Node, error) {
	dir := filepath.Join(c.Dir, name)
	ports, err := loopback.Ports(4)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	n := &Node{
		URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), Ops: fmt.Sprintf("127.0.0.1:%d", ports[1]), Admin: fmt.Sprintf("127.0.0.1:%d", ports[2]),
		Codes: filepath.Join(data, "codes.log"), AdminToken: filepath.Join(data, "admin-token"),
	}
	n.Settings = filepath.Join(dir, "switchboard.yaml")
	err = write(n.Settings, fmt.Sprintf(nodeConfig, name, data, secret, urls, max(1, min(3, c.Servers)),
		ports[0], n.URL, n.Ops, n.Admin, ports[3], c.Settings))
	if err != nil {
		return nil, err
	}
	n.Process = &Process{
		Name: name, log: log, args: []string{c.Switchboard, "serve", "-config", n.Settings},
		ready: func() bool { return answersOK("http://" + n.Ops + "/readyz") },
	}
	return n, nil
}

// Relay says where a relay is. Listen is its address, UDP and TCP.
type Relay struct{ Name, Region, Zone, Listen string }

// relayConfig is that of a relay. It ends at once when it is asked to: its calls are
// moved by whoever wants them moved.
const relayConfig = `development: true
roles: [relay]
node: %s
region: %s
zone: %q
data_dir: %q
secret_file: %q
nats: {url: %q}
ops: {listen: %q}
relay: {listen: %q}
drain_deadline: 1s
`

func newRelay(c Config, log *lines, r Relay, urls, secret string) (*Node, error) {
	dir := filepath.Join(c.Dir, r.Name)
	ports, err := loopback.Ports(1)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(dir, "data")
	n := &Node{Ops: fmt.Sprintf("127.0.0.1:%d", ports[0]), Settings: filepath.Join(dir, "switchboard.yaml"), AdminToken: filepath.Join(data, "admin-token")}
	if err := write(n.Settings, fmt.Sprintf(relayConfig, r.Name, r.Region, r.Zone, data, secret, urls, n.Ops, r.Listen)); err != nil {
		return nil, err
	}
	n.Process = &Process{
		Name: r.Name, log: log, args: []string{c.Switchboard, "serve", "-config", n.Settings},
		ready: func() bool { return answersOK("http://" + n.Ops + "/readyz") },
	}
	return n, nil
}

func write(file, text string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text), 0o600)
}
