package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	installation "switchboard/cmd/switchboard/internal/fleet"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// The benchmarks here run the real server as a process of its own and are its
// clients. Each says beside itself what it does; "make bench" runs all.

// benchServer is a server process, or an installation of several, whose devices
// are admitted by tokens that the benchmark signs, so that ten thousand need no
// codes.
type benchServer struct {
	b     *testing.B
	addrs Addrs    // of the only process; empty of an installation
	urls  []string // of the nodes
	nats  string   // of the cluster; empty for an embedded server
	pids  []int    // of all processes, the nodes first
	key   ed25519.PrivateKey
	dir   string
}

// benchDir makes the files that every server of a benchmark needs: the program
// and the keys of the tokens.
func benchDir(b *testing.B) *benchServer {
	b.Helper()
	dir := b.TempDir()
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	jwks := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"bench","x":%q}]}`, base64.RawURLEncoding.EncodeToString(pub))
	if err := os.WriteFile(filepath.Join(dir, "jwks.json"), []byte(jwks), 0o600); err != nil {
		b.Fatal(err)
	}
	if _, err := installation.Build(b.Context(), dir); err != nil {
		b.Fatal(err)
	}
	return &benchServer{b: b, key: key, dir: dir}
}

// benchSettings take the limits on devices, which protect people, out of the
// way, and let tokens of the benchmark's in.
const benchSettings = `
roles: [signaling]
log: {level: warn}
auth: {external: {jwks_file: %q, issuer: bench, audience: switchboard}}
signaling:
  heartbeat: 10m
  limits:
    frames_per_second: 100000
    frames_burst: 100000
    invites_per_minute: 1000000
    invites_burst: 100000
    messages_per_second: 100000
    messages_burst: 100000
    pair_messages_per_second: 100000
    pair_messages_burst: 100000
`

func startBench(b *testing.B) *benchServer {
	b.Helper()
	s := benchDir(b)
	config, file := filepath.Join(s.dir, "bench.yaml"), filepath.Join(s.dir, "addrs.json")
	text := "development: true\nhttp: {listen: 127.0.0.1:0}\nops: {listen: 127.0.0.1:0}\nadmin: {listen: ''}\n" +
		fmt.Sprintf("data_dir: %q\n", filepath.Join(s.dir, "data")) + fmt.Sprintf(benchSettings, filepath.Join(s.dir, "jwks.json"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(s.dir, "switchboard"), "serve", "-config", config, "-addr-file", file)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-ended:
		case <-time.After(time.Minute):
			b.Error("the server did not end", cmd.Process.Kill())
		}
	})
	s.pids = []int{cmd.Process.Pid}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if text, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(text, &s.addrs); err != nil {
				b.Fatal(err)
			}
			s.urls = []string{"http://" + s.addrs.HTTP}
			return s
		}
		<-tick.C
	}
	b.Fatal("the server was not ready in a minute")
	return nil
}

// startBenchCluster starts three NATS servers that sync every write, and three
// nodes on them.
func startBenchCluster(b *testing.B) *benchServer {
	b.Helper()
	s := benchDir(b)
	f, err := installation.Start(b.Context(), installation.Config{
		Dir: filepath.Join(s.dir, "fleet"), NATS: filepath.Join(s.dir, "nats-server"), Switchboard: filepath.Join(s.dir, "switchboard"),
		Servers: 3, Nodes: 3, Settings: fmt.Sprintf(benchSettings, filepath.Join(s.dir, "jwks.json")),
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := f.Close(); err != nil {
			b.Error(err)
		}
	})
	s.nats = f.NATS
	for _, n := range f.Nodes {
		s.urls = append(s.urls, n.URL)
		s.pids = append(s.pids, n.PID())
	}
	for _, p := range f.Servers {
		s.pids = append(s.pids, p.PID())
	}
	return s
}

func benchNumber(i int) string { return fmt.Sprintf("+1202555%04d", i%10000) }

// token is that of the i-th device; ten devices share a number, so that the
// numbers suffice.
func (s *benchServer) token(i int) string {
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": "bench", "aud": "switchboard", "exp": time.Now().Add(time.Hour).Unix(),
		"phone_number": benchNumber(i / 10), "device_id": strconv.Itoa(i),
	})
	t.Header["kid"] = "bench"
	text, err := t.SignedString(s.key)
	if err != nil {
		s.b.Fatal(err)
	}
	return text
}

// phone connects the only device of the i-th number.
func (s *benchServer) phone(i int) *client.Client {
	ctx, cancel := context.WithTimeout(s.b.Context(), time.Minute)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{URL: s.urls[i%len(s.urls)], Token: s.token(10 * i), Stay: true})
	if err != nil {
		s.b.Fatal(err)
	}
	return c
}

// memory is what a process holds, in bytes: resident, and of that the live
// heap and the stacks of Go, after a collection.
type memory struct{ rss, heap, stacks float64 }

func (s *benchServer) memory() memory {
	for range 4 { // a stack shrinks by half in each collection
		resp, err := http.Get("http://" + s.addrs.Ops + "/debug/pprof/heap?gc=1")
		if err != nil {
			s.b.Fatal(err)
		}
		resp.Body.Close()
	}
	resp, err := http.Get("http://" + s.addrs.Ops + "/metrics")
	if err != nil {
		s.b.Fatal(err)
	}
	defer resp.Body.Close()
	m := memory{rss: s.settledRSS()}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch v, _ := strconv.ParseFloat(value, 64); name {
		case "go_memstats_heap_alloc_bytes":
			m.heap = v
		case "go_memstats_stack_inuse_bytes":
			m.stacks = v
		}
	}
	return m
}

// settledRSS waits until the runtime has given back to the kernel what the
// collections have freed, which it does little by little.
func (s *benchServer) settledRSS() float64 {
	rss := rssOf(s.b, s.pids[0])
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for range 20 {
		<-tick.C
		now := rssOf(s.b, s.pids[0])
		if now > 0.995*rss {
			return now
		}
		rss = now
	}
	return rss
}

func rssOf(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Skip("resident memory is read from /proc, which is not here")
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			v, err := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			if err != nil {
				b.Fatal(err)
			}
			return v * 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}

// idleConnections is how many are held; each costs a file on both sides.
const idleConnections = 10_000

// BenchmarkIdleConnection holds 10,000 sessions, each after its hello, welcome
// and empty mailbox, without TLS, and reports what the server process grew by
// for each: resident memory, and the live heap and stacks of Go in it. The
// kernel's socket buffers are not in it. 1,000 devices connect and leave before
// the first reading, so that what is made once does not count. Each reading
// follows four collections, because a stack shrinks by half in each.
//
// bare is the yardstick in the same run: a server of nothing but
// gorilla/websocket with its default buffers and one goroutine that reads.
func BenchmarkIdleConnection(b *testing.B) {
	b.Run("switchboard", func(b *testing.B) {
		s := startBench(b)
		warm := s.hold(0, 1000)
		closeAll(warm)
		before := s.memory()
		held := s.hold(0, idleConnections)
		after := s.memory()
		closeAll(held)
		b.ReportMetric((after.rss-before.rss)/idleConnections, "rss-B/conn")
		b.ReportMetric((after.heap-before.heap)/idleConnections, "heap-B/conn")
		b.ReportMetric((after.stacks-before.stacks)/idleConnections, "stack-B/conn")
		b.ReportMetric(0, "ns/op")
	})
	var before, after memory
	b.Run("bare", func(b *testing.B) {
		if after.heap == 0 { // once, however often it is called
			before, after = bareConnections(b, idleConnections)
		}
		b.ReportMetric((after.heap+after.stacks-before.heap-before.stacks)/idleConnections, "heap+stack-B/conn")
		b.ReportMetric(0, "ns/op")
	})
}

// hold opens sessions and leaves them alone.
func (s *benchServer) hold(from, n int) []*websocket.Conn {
	conns := make([]*websocket.Conn, n)
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				conns[i] = s.session(from + i)
			}
		})
	}
	wg.Wait()
	return conns
}

func (s *benchServer) session(i int) *websocket.Conn {
	d := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}, ReadBufferSize: 256, WriteBufferSize: 256}
	ws, _, err := d.Dial("ws://"+s.addrs.HTTP+protocol.SocketPath, nil)
	if err != nil {
		s.b.Error(err)
		return nil
	}
	raw, err := protocol.Encode(protocol.Frame{}, &protocol.Hello{Token: s.token(i)})
	if err == nil {
		err = ws.WriteMessage(websocket.TextMessage, raw)
	}
	for err == nil {
		var b []byte
		if _, b, err = ws.ReadMessage(); err == nil && strings.Contains(string(b), `"mailbox.drained"`) {
			return ws
		}
	}
	s.b.Errorf("session %d: %v", i, err)
	return ws
}

func closeAll(conns []*websocket.Conn) {
	for _, ws := range conns {
		if ws != nil {
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"t":"bye"}`)) // it is closed either way
			ws.Close()
		}
	}
}

// bareConnections holds connections to a server in this process, and returns
// what the process held before and after, less what the clients hold: the
// server is half of a pair, so it is measured by what is not the clients'.
func bareConnections(b *testing.B, n int) (before, after memory) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	up := websocket.Upgrader{}
	var readers sync.WaitGroup
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		readers.Add(1)
		defer readers.Done()
		for {
			if _, _, err := ws.ReadMessage(); err != nil {
				return
			}
		}
	})}
	go srv.Serve(ln)
	defer srv.Close()
	before = ownMemory()
	raw := make([]net.Conn, 0, n/2)
	// The clients are bare sockets, which hold next to nothing of Go's memory.
	// Half as many are enough: both ends are files of this process.
	for range n / 2 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		buf := make([]byte, 512)
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		raw = append(raw, c)
	}
	after = ownMemory()
	after.heap = before.heap + 2*(after.heap-before.heap)
	after.stacks = before.stacks + 2*(after.stacks-before.stacks)
	for _, c := range raw {
		c.Close()
	}
	readers.Wait()
	return before, after
}

func ownMemory() memory {
	for range 4 {
		debug.FreeOSMemory()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return memory{heap: float64(m.HeapAlloc), stacks: float64(m.StackInuse)}
}

// spread is a distribution of times.
type spread struct {
	mu sync.Mutex
	d  []time.Duration
}

func (s *spread) add(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.d = append(s.d, d)
}

func (s *spread) at(q float64) float64 {
	if len(s.d) == 0 {
		return 0
	}
	slices.Sort(s.d)
	return float64(s.d[min(int(q*float64(len(s.d))), len(s.d)-1)].Microseconds()) / 1000
}

// pace calls do n times, at a rate, each in a goroutine of its own and without
// waiting for the one before: who is late does not slow the next. due is when it
// should have been called, from which on times count: so one that had to wait
// for the machine is not taken for a quick one.
func pace(n int, perSecond float64, do func(i int, due time.Time)) {
	var wg sync.WaitGroup
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n; {
		for due := int(time.Since(start).Seconds() * perSecond); i < min(due, n); i++ {
			wg.Go(func() { do(i, start.Add(time.Duration(float64(i)/perSecond*float64(time.Second)))) })
		}
		<-tick.C
	}
	wg.Wait()
}

// BenchmarkInviteToRinging has 100 phones call 100 others, 100, 250 and 500 invites a
// second for 6 seconds each. The time is from the caller's invite to the caller's
// call.ringing, with the callee's phone between; both phones run in the same
// machine as the server and take their share of it, and a machine that cannot keep up
// with a rate has its queues in the figures. %rung is the share that was
// heard of. lookup-p50-ms is the yardstick in the same run: the median of as
// many presence lookups at the same rate, a request that waits for NATS once.
func BenchmarkInviteToRinging(b *testing.B) {
	const pairs = 100
	s := startBench(b)
	callers := make([]*client.Client, pairs)
	for i := range pairs {
		callers[i] = s.phone(2 * i)
		callee := s.phone(2*i + 1)
		defer callers[i].Close()
		defer callee.Close()
		go discard(callers[i], nil)
		go discard(callee, func(k *client.Call) { k.Ringing() })
	}
	for _, rate := range []int{100, 250, 500} {
		b.Run(fmt.Sprintf("%d a second", rate), func(b *testing.B) {
			benchInvites(b, callers, rate, 6*rate)
		})
	}
}

func benchInvites(b *testing.B, callers []*client.Client, rate, count int) {
	callee := func(i int) string { return benchNumber(2*(i%len(callers)) + 1) }
	var pings, rings spread
	pace(count, float64(rate), func(i int, start time.Time) {
		if _, err := callers[i%len(callers)].Presence(b.Context(), callee(i)); err != nil && protocol.CodeOf(err) != protocol.CodeRate {
			b.Error(err)
		}
		pings.add(time.Since(start))
	})
	pace(count, float64(rate), func(i int, start time.Time) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		k, _, err := callers[i%len(callers)].Invite(ctx, client.NewID(), callee(i), []protocol.Media{protocol.Audio}, benchSDP)
		if err != nil {
			b.Error(err)
			return
		}
		for {
			e, err := k.Next(ctx)
			if err != nil {
				return // a later call of the same pair took its place, or nothing came
			}
			if _, ok := e.(client.Ringing); ok {
				rings.add(time.Since(start))
				break
			}
		}
		if err := k.Cancel(ctx); err != nil && protocol.CodeOf(err) != protocol.CodeCallEnded {
			b.Error(err)
		}
	})
	b.ReportMetric(rings.at(0.5), "p50-ms")
	b.ReportMetric(rings.at(0.99), "p99-ms")
	b.ReportMetric(float64(len(rings.d))/float64(count)*100, "%rung")
	b.ReportMetric(pings.at(0.5), "lookup-p50-ms")
	b.ReportMetric(0, "ns/op")
}

// benchSDP is as large as an offer of audio is.
var benchSDP = "v=0\r\n" + strings.Repeat("a=x-padding:0123456789012345678901234567890123456789\r\n", 40)

// discard reads a client's events, so that it goes on.
func discard(c *client.Client, incoming func(*client.Call)) {
	for e := range c.Events() {
		switch e := e.(type) {
		case client.Incoming:
			if incoming != nil {
				incoming(e.Call)
			}
		case client.Item:
			e.Ack()
		}
	}
}

func fsyncs(b *testing.B, dir string, n int) *spread {
	f, err := os.CreateTemp(dir, "sync")
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	s := &spread{}
	for range n {
		start := time.Now()
		if _, err := f.Write(make([]byte, 512)); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		s.add(time.Since(start))
	}
	return s
}
