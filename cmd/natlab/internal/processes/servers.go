package processes

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"switchboard/cmd/natlab/internal/scenario"
	"switchboard/relay"
)

// natsHost is the host of the NATS server, where a case has several nodes.
const natsHost = "nats"

// kind is what a server is.
type kind int

const (
	isNode kind = iota
	isRelay
	isNATS
	isSTUN // answers what addresses are seen from the internet, where there are no relays
)

// server is a host with a process that can be killed, drained and started anew.
type server struct {
	host     string
	kind     kind
	settings string // a file
	codes    string // of a node: the file of one-time codes
	process  *process
}

// servers are those of a case.
type servers struct {
	*placing
	certificate           // of all of them
	all         []*server // in the order in which they start
}

// needsNATS reports whether a case has a NATS server of its own: the NATS inside a node
// is for one alone.
func needsNATS(c scenario.Case) bool { return len(c.Signaling) > 1 }

// newServers writes the settings of all servers, and starts none.
func newServers(ctx context.Context, p *placing) (*servers, error) {
	s := &servers{placing: p}
	names := slices.Concat(p.c.Signaling, slices.Sorted(maps.Keys(p.c.Relays)), []string{natsHost})
	var err error
	if s.certificate, err = p.engine.authority.certify(p.dir, names); err != nil {
		return nil, err
	}
	if needsNATS(p.c) {
		if err := s.addNATS(); err != nil {
			return nil, err
		}
	}
	for _, host := range p.c.Signaling {
		if err := s.addNode(ctx, host); err != nil {
			return nil, err
		}
	}
	for _, host := range slices.Sorted(maps.Keys(p.c.Relays)) {
		if err := s.addRelay(ctx, host); err != nil {
			return nil, err
		}
	}
	if p.c.STUN != "" {
		return s, s.addSTUN()
	}
	return s, nil
}

func (s *servers) add(host string, k kind, text string) (*server, error) {
	v := &server{host: host, kind: k}
	dir, err := folder(s.dir, v.host)
	if err != nil {
		return nil, err
	}
	if v.settings, err = writeSettings(dir, text); err != nil {
		return nil, err
	}
	v.codes = filepath.Join(dir, "data", "codes.log")
	s.all = append(s.all, v)
	return v, nil
}

// data is the folder in which a server keeps its data.
func (s *servers) data(host string) string { return filepath.Join(s.dir, host, "data") }

func (s *servers) addNATS() error {
	_, err := s.add(natsHost, isNATS, fmt.Sprintf(natsSettings, natsHost, natsPort, s.data(natsHost), s.cert, s.key))
	return err
}

func (s *servers) addNode(ctx context.Context, host string) error {
	text := fmt.Sprintf(nodeSettings, host, s.region(), s.data(host), s.engine.keys.master, httpsPort, host, s.cert, s.key)
	switch {
	case needsNATS(s.c):
		text += fmt.Sprintf(serverNATS, natsHost, natsPort, s.engine.authority.file)
	case len(s.c.Relays) > 0:
		keys, err := s.relayKeys(ctx)
		if err != nil {
			return err
		}
		text += fmt.Sprintf(embeddedNATS, natsPort, s.cert, s.key, keys)
	}
	if s.c.STUN != "" {
		text += fmt.Sprintf("ice: {stun_urls: [\"stun:%s:%d\"]}\n", s.c.STUN, turnPort)
	}
	_, err := s.add(host, isNode, text)
	return err
}

// region is where the nodes are: in that of a relay.
func (s *servers) region() string {
	for _, host := range slices.Sorted(maps.Keys(s.c.Relays)) {
		return cmp.Or(s.c.Relays[host].Region, defaultRegion)
	}
	return defaultRegion
}

// defaultRegion is where servers are that are nowhere else.
const defaultRegion = "lab"

// relayKeys writes the file of the relays that the node lets in.
func (s *servers) relayKeys(ctx context.Context) (string, error) {
	var text strings.Builder
	for _, relay := range slices.Sorted(maps.Keys(s.c.Relays)) {
		key, err := s.engine.keys.nkey(ctx, relay)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&text, relay, key.public)
	}
	file := filepath.Join(s.dir, "relay-keys")
	return file, os.WriteFile(file, []byte(text.String()), 0o600)
}

func (s *servers) addRelay(ctx context.Context, host string) error {
	text := s.relayText(host, s.c.Relays[host])
	if needsNATS(s.c) {
		text += fmt.Sprintf(relayNATS, natsHost, natsPort, s.engine.authority.file, "")
	} else {
		key, err := s.engine.keys.nkey(ctx, host)
		if err != nil {
			return err
		}
		text += fmt.Sprintf(relayNATS, s.c.Signaling[0], natsPort, s.engine.authority.file, fmt.Sprintf(", nkey_file: %q", key.file))
	}
	_, err := s.add(host, isRelay, text)
	return err
}

func (s *servers) relayText(host string, r scenario.Relay) string {
	return fmt.Sprintf(relaySettings, host, cmp.Or(r.Region, defaultRegion), s.data(host), s.engine.keys.relays, host, turnPort, httpsPort, s.cert, s.key,
		quoted(s.lab.Addrs(host)), quoted(reachable(s.c.Topology)), cmp.Or(r.DataPath, relay.Default().DataPath), opsPort)
}

// addSTUN has a relay that no call is told of, for the addresses that phones are seen
// from: without relays there is nobody else to ask.
func (s *servers) addSTUN() error {
	_, err := s.add(s.c.STUN, isSTUN, s.relayText(s.c.STUN, scenario.Relay{}))
	return err
}

// start starts all and returns when calls can be placed: when each node knows all relays.
func (s *servers) start(ctx context.Context) error {
	for _, kinds := range [][]kind{{isNATS}, {isNode, isSTUN}, {isRelay}} {
		var started []*server
		for _, v := range s.all {
			if slices.Contains(kinds, v.kind) {
				if err := s.launch(ctx, v); err != nil {
					return err
				}
				started = append(started, v)
			}
		}
		for _, v := range started {
			if err := v.awaitReady(ctx); err != nil {
				return err
			}
		}
	}
	for _, v := range s.all {
		if v.kind == isNode {
			if err := s.awaitRelays(ctx, v); err != nil {
				return err
			}
		}
	}
	return nil
}

// launch starts a server's process.
func (s *servers) launch(ctx context.Context, v *server) error {
	program, args := s.engine.programs[switchboard], []string{"serve", "-config", v.settings}
	if v.kind == isNATS {
		program, args = s.engine.programs[natsServer], []string{"-c", v.settings}
	}
	p, err := s.run(v.host, v.host, program, args...)
	if err != nil {
		return err
	}
	v.process = p
	return ctx.Err()
}

// awaitReady waits until a server says that it is ready.
func (v *server) awaitReady(ctx context.Context) error {
	_, err := v.process.await(ctx, "get ready", func(e entry) bool {
		if v.kind == isNATS {
			return strings.Contains(e.text, "Server is ready")
		}
		return e.says("ready")
	})
	return err
}

// awaitRelays waits until a node has heard of all relays that run.
func (s *servers) awaitRelays(ctx context.Context, node *server) error {
	for _, v := range s.all {
		if v.kind != isRelay {
			continue
		}
		_, err := node.process.await(ctx, "hear of "+v.host, func(e entry) bool {
			name, _ := e.fields["relay"].(string)
			return e.says("relay") && strings.HasPrefix(name, v.host+".") && e.fields["alive"] == true
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// at returns the server of a host.
func (s *servers) at(host string) (*server, error) {
	for _, v := range s.all {
		if v.host == host {
			return v, nil
		}
	}
	return nil, fmt.Errorf("no server is on %q", host)
}

// kill ends a server as a power cut does.
func (s *servers) kill(host string) error {
	v, err := s.at(host)
	if err != nil {
		return err
	}
	if !v.process.running() {
		return fmt.Errorf("%s does not run", host)
	}
	v.process.kill()
	return nil
}

// restart starts a server anew, and puts one that was drained back into service.
func (s *servers) restart(ctx context.Context, host string) error {
	v, err := s.at(host)
	if err != nil {
		return err
	}
	if v.process.running() {
		return s.operate(ctx, v, "undrain")
	}
	if err := s.launch(ctx, v); err != nil {
		return err
	}
	return v.awaitReady(ctx)
}

// drain asks a server to leave, as its operator would.
func (s *servers) drain(ctx context.Context, host string) error {
	v, err := s.at(host)
	if err != nil {
		return err
	}
	return s.operate(ctx, v, "drain")
}

func (s *servers) operate(ctx context.Context, v *server, what string) error {
	var args []string
	switch v.kind {
	case isRelay:
		args = []string{what, "-config", v.settings}
	case isNode:
		args = []string{"admin", what, "-config", v.settings, v.host}
	default:
		return fmt.Errorf("%s cannot be asked to %s", v.host, what)
	}
	p, err := s.run(v.host, v.host+"-"+what, s.engine.programs[switchboard], args...)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return context.Cause(ctx)
	}
	if p.err != nil {
		return errors.Join(fmt.Errorf("%s %s: %w", what, v.host, p.err), errors.New(p.out.tail()))
	}
	return nil
}
