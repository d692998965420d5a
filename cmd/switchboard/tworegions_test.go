package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/natsnode"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// gateDelay is how long what one region says takes to the other.
const gateDelay = 20 * time.Millisecond

// european is a number of the home region.
const european = "+4930123456"

// TestTwoRegions runs the configuration of configs/REGIONS.md: a home region of
// three NATS servers, one of another, and a node in each. Devices find their
// region, text and call each other across, and go to the other when theirs
// stops.
func TestTwoRegions(t *testing.T) {
	w := startRegions(t)
	eu, us := w.node(t, "eu"), w.node(t, "us")
	pe := start(t, eu)
	pu := start(t, us)
	w.placedIn(t, us.config.NATS, "eu")
	w.refusesElsewhere(t, eu.config.NATS)

	// Both register and connect in Europe: one name leads everybody there.
	tokenA, tokenB := register(t, pe.Addrs, alice), register(t, pe.Addrs, european)
	a, b := connect(t, pe.Addrs, tokenA), connect(t, pe.Addrs, tokenB)
	if first := await[client.Connected](t, a).Welcome; first.Region != "us" || first.Better == nil || first.Better.URL != "ws://"+pu.HTTP {
		t.Fatalf("the American was sent to %v for %q", first.Better, first.Region)
	}
	if first := await[client.Connected](t, b).Welcome; first.Region != "eu" || first.Better != nil {
		t.Errorf("the European was sent to %v for %q", first.Better, first.Region)
	}
	moved := await[client.Connected](t, a).Welcome
	if !strings.HasPrefix(moved.Node, "sig-2-") || moved.Better != nil {
		t.Fatalf("the American is at %s, sent to %v", moved.Node, moved.Better)
	}

	for _, which := range []string{"first", "second"} {
		begun := time.Now()
		send(t, a, european, "across the sea")
		stored := time.Since(begun)
		if got := awaitText(t, b); got.Body != "across the sea" || got.From.E164() != alice {
			t.Errorf("text %q", got.Body)
		}
		t.Logf("with %v to and fro, a %s text from the other region was stored after %v, and there after %v",
			2*gateDelay, which, stored.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
	}
	send(t, b, alice, "and back")
	if got := awaitText(t, a); got.Body != "and back" {
		t.Errorf("text %q", got.Body)
	}
	w.loseEachOther(t, pe, pu, a, b)
	begun := time.Now()
	out, in := talkTo(t, a, b, european)
	t.Logf("and a call was answered after %v", time.Since(begun).Round(time.Millisecond))

	// The node in America stops: the device goes back to Europe, and the call on.
	if err := pu.end(); err != nil {
		t.Fatal(err)
	}
	back := await[client.Connected](t, a).Welcome
	if !strings.HasPrefix(back.Node, "sig-1-") || len(back.Calls) != 1 {
		t.Errorf("back at %s with %d calls", back.Node, len(back.Calls))
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := in.Hangup(ctx, ""); err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Ended](t, out)
}

// loseEachOther closes the way between the regions for longer than a lease. The
// device in America keeps its connection, hears that it must wait, and is found
// again when the way is open; what Europe sent it meanwhile is there.
func (w *regionWorld) loseEachOther(t *testing.T, pe, pu *process, a, b *client.Client) {
	t.Helper()
	before := a.Welcome()
	w.sea.set(true)
	ready := func(p *process) bool { status, _ := p.get(p.Ops, "/readyz"); return status == http.StatusOK }
	eventually(t, func() bool { return !ready(pu) })
	if !ready(pe) {
		t.Error("Europe is not ready")
	}
	var refused *protocol.Error
	if _, err := a.Presence(t.Context(), european); !errors.As(err, &refused) || refused.Code != protocol.CodeUnavailable || !refused.Retry {
		t.Errorf("a question in America: %v", err)
	}
	eventually(t, func() bool { // until then, Europe believes it to be there
		p, err := b.Presence(t.Context(), alice)
		return err == nil && !p.Online
	})
	send(t, b, alice, "are you there?")

	w.sea.set(false)
	eventually(t, func() bool { return ready(pu) })
	if got := awaitText(t, a); got.Body != "are you there?" {
		t.Errorf("text %q", got.Body)
	}
	send(t, a, european, "here I am")
	if got := awaitText(t, b); got.Body != "here I am" {
		t.Errorf("text %q", got.Body)
	}
	if a.Welcome().Key != before.Key {
		t.Error("the device in America has connected anew")
	}
}

// regionWorld is two NATS clusters, joined by gateways.
type regionWorld struct {
	servers map[string][]*server.Server // by region
	secret  string
	files   *sampleFiles
	http    map[string]string // where the node of each region will listen
	sea     sea
}

// sea is what lies between the regions.
type sea struct {
	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]bool // of the regions, on both shores
}

// set opens or closes the way between the regions.
func (s *sea) set(closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = closed
	for c := range s.conns {
		if closed {
			c.Close()
		}
	}
}

// take notes a connection, unless the way is closed.
func (s *sea) take(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	if s.conns == nil {
		s.conns = map[net.Conn]bool{}
	}
	s.conns[c] = true
	return true
}

func (s *sea) leave(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	c.Close()
}

// startRegions starts the servers of configs/nats, on loopback.
func startRegions(t *testing.T) *regionWorld {
	t.Helper()
	if testing.Short() {
		t.Skip("electing takes seconds")
	}
	w := &regionWorld{servers: map[string][]*server.Server{}, http: map[string]string{"eu": freeAddress(t), "us": freeAddress(t)}}
	dir := t.TempDir()
	w.files = &sampleFiles{dir: dir}
	w.files.certificate(t)
	replace := []string{
		`"0.0.0.0:4222"`, `"127.0.0.1:-1"`, "/etc/nats/ca.pem", dir + "/cert.pem", "/etc/nats/", dir + "/",
		// There is one server in us.
		`"tls://nats-us-2.internal:6222"`, "", `, "tls://nats-us-2.example:7222"`, "",
	}
	listen := map[string]string{} // of a server, for its others
	gate := map[string]string{}   // of a server, for the other region
	all := []string{"eu-1", "eu-2", "eu-3", "us-1"}
	for _, name := range all {
		listen[name], gate[name] = freeAddress(t), freeAddress(t)
		replace = append(replace,
			"nats-"+name+".internal:6222", listen[name],
			"nats-"+name+".example:7222", w.slowly(t, gate[name]))
	}
	nodes, err := os.ReadFile(filepath.Join(configs, "nats", "nodes.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for region, sample := range map[string]string{
		"eu": "UAAK5FLYDYYSKOYWFQW7INP4AT27NTIAEX2IG43AOQ4ORXQV5Z5777FC", "us": "UC73YKEUGGHFQSB24JWACOVCIYRLXVPHDRM745T2HBAQO6QUR3U3JKTH",
	} {
		public, seed := natsKey(t)
		nodes = bytes.ReplaceAll(nodes, []byte(sample), []byte(public))
		if err := os.WriteFile(w.seed(region), seed, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "nodes.conf"), nodes, 0o600); err != nil {
		t.Fatal(err)
	}
	names := strings.NewReplacer(replace...)
	for _, name := range all {
		region := name[:2]
		text, err := os.ReadFile(filepath.Join(configs, "nats", "region-"+region+".conf"))
		if err != nil {
			t.Fatal(err)
		}
		conf := names.Replace(strings.NewReplacer(
			"server_name: nats-"+region+"-1", "server_name: nats-"+name,
			`advertise: "nats-`+region+`-1.`, `advertise: "nats-`+name+`.`,
			`"0.0.0.0:6222"`, `"`+listen[name]+`"`, `"0.0.0.0:7222"`, `"`+gate[name]+`"`,
			"/var/lib/nats", t.TempDir(),
		).Replace(string(text)))
		w.servers[region] = append(w.servers[region], startServer(t, filepath.Join(dir, name+".conf"), conf))
	}
	for _, s := range append(w.servers["eu"], w.servers["us"]...) {
		eventually(t, func() bool { return s.NumOutboundGateways() == 1 })
	}
	eventually(t, func() bool { return w.servers["eu"][0].JetStreamIsCurrent() })
	n := testNode(t, "") // makes the secret
	w.secret = n.config.SecretFile
	if _, err := openSecrets(n.config); err != nil {
		t.Fatal(err)
	}
	return w
}

func startServer(t *testing.T, file, conf string) *server.Server {
	t.Helper()
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	o, err := server.ProcessConfigFile(file)
	if err != nil {
		t.Fatal(err)
	}
	o.NoSigs, o.NoLog = true, true
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// node is the one of configs/region-*.yaml, with what cannot be had here
// replaced.
func (w *regionWorld) node(t *testing.T, region string) *node {
	t.Helper()
	c, _, err := Load(filepath.Join(configs, "region-"+region+".yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	dev := testNode(t, "").config
	c.Development, c.DataDir, c.SecretFile, c.RelaySecretFile = true, dev.DataDir, w.secret, ""
	c.HTTP, c.Ops, c.Admin = HTTPConfig{Listen: w.http[region], PublicURL: "http://" + w.http[region]}, dev.Ops, dev.Admin
	c.Log, c.Auth, c.Signaling.DrainFor, c.DrainDeadline = dev.Log, dev.Auth, dev.Signaling.DrainFor, dev.DrainDeadline
	for i, r := range c.Regions.List {
		c.Regions.List[i].Probe = "http://" + w.http[r.Name] + "/v1/ping"
	}
	var urls []string
	for _, s := range w.servers[region] {
		urls = append(urls, s.ClientURL())
	}
	c.NATS.URL, c.NATS.NKeyFile = strings.Join(urls, ","), w.seed(region)
	c.NATS.CAFile, c.NATS.CertFile, c.NATS.KeyFile = w.files.dir+"/cert.pem", w.files.dir+"/cert.pem", w.files.dir+"/key.pem"
	d := &c.Directory // a lease that lapses soon
	d.LeaseTTL, d.RenewEvery, d.RequestTimeout = 3*time.Second, 500*time.Millisecond, time.Second
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	return newNode(c.implied(), Options{Stdout: io.Discard, LogTo: t.Output()})
}

// refusesElsewhere starts a node that wants its records in the wrong place.
func (w *regionWorld) refusesElsewhere(t *testing.T, c natsnode.Config) {
	t.Helper()
	c.Placement = "us"
	n, err := natsnode.Open(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	_, err = n.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	if err = n.Explain(err); err == nil || !strings.HasPrefix(err.Error(), `nats.placement: there is no cluster "us"`) {
		t.Errorf("records in us, where no server keeps any: %v", err)
	}
}

// seed is the file of the key of a region's node.
func (w *regionWorld) seed(region string) string { return filepath.Join(w.files.dir, region+".nk") }

// placedIn wants every stream, replicated, in one region.
func (w *regionWorld) placedIn(t *testing.T, c natsnode.Config, region string) {
	t.Helper()
	n, err := natsnode.Open(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close(t.Context())
	for _, name := range []string{
		"KV_CONFIG", "KV_ACCT", "KV_DEVS", "KV_SEEN", "KV_PRES", "KV_NODES", "KV_CALLS", "KV_CODES", "INBOX_0", "INBOX_1", "INBOX_2", "INBOX_3",
	} {
		s, err := n.JetStream().Stream(t.Context(), name)
		if err != nil {
			t.Fatalf("stream %s: %v", name, err)
		}
		if at := s.CachedInfo().Cluster; at == nil || at.Name != region || len(at.Replicas) != 2 {
			t.Errorf("stream %s is in %+v", name, at)
		}
	}
}

// slowly returns an address behind which is another, far away.
func (w *regionWorld) slowly(t *testing.T, to string) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			if !w.sea.take(in) {
				continue
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				w.sea.leave(in)
				continue
			}
			all.Go(func() { late(out, in); w.sea.leave(in) })
			all.Go(func() { late(in, out) })
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return ln.Addr().String()
}

// late copies what arrives, each piece after a while.
func late(to, from net.Conn) {
	type piece struct {
		due  time.Time
		data []byte
	}
	way := make(chan piece, 1024)
	var writer sync.WaitGroup
	writer.Go(func() {
		for p := range way {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
		to.Close()
	})
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			way <- piece{time.Now().Add(gateDelay), append([]byte(nil), buf[:n]...)}
		}
		if err != nil {
			break
		}
	}
	close(way)
	writer.Wait()
	from.Close()
}
