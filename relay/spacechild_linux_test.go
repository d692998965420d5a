package relay

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/turn/v5"
	"github.com/prometheus/client_golang/prometheus"

	"switchboard/relay/internal/offloadtest"
)

// spaceEnv makes this test program a relay in a network namespace, whose settings it has; see
// [SpaceChild].
const spaceEnv = "SWITCHBOARD_TEST_SPACE"

func init() { children[spaceEnv] = runSpaceChild }

// SpaceConfig is how a relay in a namespace is started. What is zero is as by default, with
// limits that tests do not reach.
type SpaceConfig struct {
	Pion     bool // it is the TURN library's own server, at Public
	DataPath string
	Listen   string // ":3478" by default
	Public   []netip.Addr
	Bind     []netip.Addr
	Classic  bool // attach through clsact
	// Lifetimes of what nobody refreshes, and for how long a relay that drains needs media.
	Allocation, Permission, Channel, UnusedFor time.Duration
	Bandwidth                                  Bandwidth
	AllocationsPerUser, Allocations            int
	Ports                                      PortRange
}

// SpaceChild is a relay in a process of its own, in a network namespace. It does what it is
// told until its standard input ends. Its methods may be called from any goroutine.
type SpaceChild struct {
	PID int

	mu   sync.Mutex // of a question and its answer
	ask  *json.Encoder
	hear *json.Decoder
	cmd  *exec.Cmd
}

// SpaceOrder is what a child is told to do, before it reports.
type SpaceOrder struct {
	DataPath string       // chooses one
	Own      []netip.Addr // has the policy know other addresses as the machine's own
	Drain    bool
	Collect  bool // garbage
}

// SpaceReport is how a child is.
type SpaceReport struct {
	Err               string
	Path              DataPath
	Metrics           map[string]float64 // name or name/label, without switchboard_relay_
	Allocations       int
	Flows, Entries    int // in the kernel: as the relay has noted, and in its map
	Goroutines, Files int
}

// StartSpaceChild starts one, and ends it with the test.
func StartSpaceChild(t testing.TB, in *offloadtest.Space, c SpaceConfig) *SpaceChild {
	t.Helper()
	settings, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), spaceEnv+"="+string(settings))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := in.Start(cmd); err != nil {
		t.Fatal(err)
	}
	child := &SpaceChild{PID: cmd.Process.Pid, ask: json.NewEncoder(stdin), hear: json.NewDecoder(stdout), cmd: cmd}
	t.Cleanup(func() {
		stdin.Close() // it ends
		if err := cmd.Wait(); err != nil && cmd.ProcessState.ExitCode() != -1 {
			t.Errorf("the relay in a namespace: %v", err)
		}
	})
	var report SpaceReport // that it serves
	if err := child.hear.Decode(&report); err != nil {
		t.Fatalf("the relay in a namespace does not start: %v", err)
	}
	return child
}

// Tell has a child do something, and returns how it is then.
func (c *SpaceChild) Tell(o SpaceOrder) (r SpaceReport, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ask.Encode(o); err != nil {
		return r, err
	}
	if err := c.hear.Decode(&r); err != nil {
		return r, err
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

// Kill ends a child as kill -9 does.
func (c *SpaceChild) Kill() error {
	if err := c.cmd.Process.Kill(); err != nil {
		return err
	}
	_, err := c.cmd.Process.Wait()
	return err
}

// runSpaceChild is the relay of [StartSpaceChild].
func runSpaceChild(settings string) error {
	var c SpaceConfig
	if err := json.Unmarshal([]byte(settings), &c); err != nil {
		return err
	}
	if c.Pion {
		return runPion(c)
	}
	registry := prometheus.NewRegistry()
	s, err := New(c.settings(), Deps{Registerer: registry, Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	s.offloader.classic = c.Classic
	for _, d := range []struct {
		to   *time.Duration
		from time.Duration
	}{{&s.lifetimes.allocation, c.Allocation}, {&s.lifetimes.permission, c.Permission}, {&s.lifetimes.channel, c.Channel}, {&s.unusedFor, c.UnusedFor}} {
		if d.from != 0 {
			*d.to = d.from
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	obeyed := make(chan error, 1)
	go func() {
		defer cancel()
		select {
		case <-s.Started():
			obeyed <- s.obey(registry)
		case <-ctx.Done():
		}
	}()
	err = s.Serve(ctx)
	cancel()
	select {
	case failed := <-obeyed:
		return errors.Join(err, failed)
	default:
		return err
	}
}

func (c SpaceConfig) settings() Config {
	config := Default()
	config.TLS = TLSConfig{}
	config.Secrets = []Secret{{ID: "one", Key: []byte("0123456789abcdef")}}
	config.Peers.Allow = prefixes("10.71.0.0/16", "fd71::/16")
	config.DataPath, config.PublicAddresses, config.BindAddresses = c.DataPath, c.Public, c.Bind
	if c.Listen != "" {
		config.Listen = c.Listen
	}
	if c.Ports != (PortRange{}) {
		config.Ports = c.Ports
	}
	config.Bandwidth = c.Bandwidth
	config.Limits.UnauthenticatedPerSecond, config.Limits.FailedAuthPerSecond = 100000, 100000
	config.Limits.AllocationsPerUserPerSecond, config.Limits.NewPeersPerSecond = 1000, 1000
	config.Quotas.AllocationsPerUser, config.Quotas.AllocationsPerCall, config.Quotas.AllocationsPerSource = 1000, 1000, 10000
	if c.AllocationsPerUser != 0 {
		config.Quotas.AllocationsPerUser = c.AllocationsPerUser
	}
	if c.Allocations != 0 {
		config.Quotas.Allocations = c.Allocations
	}
	return config
}

// obey does what it is told on standard input until that ends.
func (s *Server) obey(metrics prometheus.Gatherer) error {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	var failed error
	for {
		r, err := s.report(metrics)
		if err = errors.Join(failed, err); err != nil {
			r.Err = err.Error()
		}
		if err := out.Encode(r); err != nil {
			return err
		}
		var o SpaceOrder
		if err := in.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		failed = s.do(o)
	}
}

func (s *Server) do(o SpaceOrder) error {
	if o.DataPath != "" {
		if _, err := s.SetDataPath(context.Background(), o.DataPath); err != nil {
			return err
		}
	}
	if o.Own != nil {
		s.policy.setOwn(o.Own)
	}
	if o.Drain {
		s.Drain()
	}
	if o.Collect {
		runtime.GC()
	}
	return nil
}

func (s *Server) report(metrics prometheus.Gatherer) (SpaceReport, error) {
	goroutines := runtime.NumGoroutine()     // before those that follow the network begin anew
	flows, entries, err := s.offloader.has() // which counts, too
	r := SpaceReport{
		Path: s.DataPath(), Metrics: make(map[string]float64), Allocations: s.Allocations(),
		Flows: flows, Entries: entries, Goroutines: goroutines,
	}
	families, failed := metrics.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := strings.TrimPrefix(f.GetName(), "switchboard_relay_")
			if l := m.GetLabel(); len(l) > 0 {
				name += "/" + l[0].GetValue()
			}
			r.Metrics[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	files, unread := os.ReadDir("/proc/self/fd")
	r.Files = len(files)
	return r, errors.Join(err, failed, unread)
}

// has is what the kernel has, when all is done that was queued.
func (o *offloader) has() (flows, entries int, err error) {
	done := make(chan struct{})
	select {
	case o.do <- func() {
		defer close(done)
		o.process()
		o.count()
		if o.path == nil {
			return
		}
		flows = o.path.Len()
		entries, err = o.path.Entries()
	}:
		<-done
		return flows, entries, err
	case <-time.After(10 * time.Second):
		return 0, 0, errors.New("the data path does not answer")
	}
}

// runPion is the library's own server.
func runPion(c SpaceConfig) error {
	config := turn.ServerConfig{
		Realm: "switchboard", LoggerFactory: silence{},
		AuthHandler: func(a *turn.RequestAttributes) (string, []byte, bool) {
			return a.Username, turn.GenerateAuthKey(a.Username, a.Realm, "pion"), true
		},
		InboundMTU: maxMessage + 1,
	}
	for _, at := range c.Public {
		conn, err := net.ListenPacket("udp", netip.AddrPortFrom(at, 3478).String())
		if err != nil {
			return err
		}
		config.PacketConnConfigs = append(config.PacketConnConfigs, turn.PacketConnConfig{
			PacketConn:            conn,
			RelayAddressGenerator: &turn.RelayAddressGeneratorStatic{RelayAddress: at.AsSlice(), Address: at.String()},
		})
	}
	s, err := turn.NewServer(config)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(SpaceReport{}); err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return s.Close()
}
