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

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// The benchmarks here run the real server as a process of its own and are its
// clients. Each says beside itself what it does; "make bench" runs all.

// benchServer is a server process whose devices are admitted by tokens that
// the benchmark signs, so that ten thousand need no codes.
type benchServer struct {
	b     *testing.B
	addrs Addrs
	pid   int
	key   ed25519.PrivateKey
	dir   string
}

func startBench(b *testing.B, settings ...string) *benchServer {
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
	program := filepath.Join(dir, "switchboard")
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	file := filepath.Join(dir, "addrs.json")
	cmd := exec.Command(program, "serve", "-config", "../../configs/dev.yaml", "-addr-file", file)
	cmd.Env = append(os.Environ(), append([]string{
		"SWITCHBOARD_DATA_DIR=" + filepath.Join(dir, "data"), "SWITCHBOARD_HTTP_LISTEN=127.0.0.1:0", "SWITCHBOARD_OPS_LISTEN=127.0.0.1:0", "SWITCHBOARD_ADMIN_LISTEN=",
		"SWITCHBOARD_ROLES=signaling", "SWITCHBOARD_LOG_LEVEL=warn",
		"SWITCHBOARD_AUTH_EXTERNAL_JWKS_FILE=" + filepath.Join(dir, "jwks.json"),
		"SWITCHBOARD_AUTH_EXTERNAL_ISSUER=bench", "SWITCHBOARD_AUTH_EXTERNAL_AUDIENCE=switchboard",
		"SWITCHBOARD_SIGNALING_HEARTBEAT=10m",
		"SWITCHBOARD_SIGNALING_LIMITS_FRAMES_PER_SECOND=100000", "SWITCHBOARD_SIGNALING_LIMITS_FRAMES_BURST=100000",
		"SWITCHBOARD_SIGNALING_LIMITS_INVITES_PER_MINUTE=1000000", "SWITCHBOARD_SIGNALING_LIMITS_INVITES_BURST=100000",
		"SWITCHBOARD_SIGNALING_LIMITS_PAIR_MESSAGES_PER_SECOND=100000", "SWITCHBOARD_SIGNALING_LIMITS_PAIR_MESSAGES_BURST=100000",
		"SWITCHBOARD_SIGNALING_LIMITS_MESSAGES_PER_SECOND=100000", "SWITCHBOARD_SIGNALING_LIMITS_MESSAGES_BURST=100000",
	}, settings...)...)
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
	s := &benchServer{b: b, pid: cmd.Process.Pid, key: key, dir: dir}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for range 6000 {
		if text, err := os.ReadFile(file); err == nil {
			if err := json.Unmarshal(text, &s.addrs); err != nil {
				b.Fatal(err)
			}
			return s
		}
		<-tick.C
	}
	b.Fatal("the server was not ready in a minute")
	return nil
}

func (s *benchServer) url() string { return "http://" + s.addrs.HTTP }

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
	c, err := client.Dial(ctx, client.Options{URL: s.url(), Token: s.token(10 * i)})
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
	rss := rssOf(s.b, s.pid)
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for range 20 {
		<-tick.C
		now := rssOf(s.b, s.pid)
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
// waiting for the one before: who is late does not slow the next.
func pace(n int, perSecond float64, do func(i int)) {
	var wg sync.WaitGroup
	start := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; i < n; {
		for due := int(time.Since(start).Seconds() * perSecond); i < min(due, n); i++ {
			wg.Go(func() { do(i) })
		}
		<-tick.C
	}
	wg.Wait()
}

// BenchmarkInviteToRinging has 100 phones call 100 others, 500 invites a second
// for 6 seconds. The time is from the caller's invite to the caller's
// call.ringing, with the callee's phone between; both phones run in the same
// machine as the server and take their share of it. %rung is the share that was
// heard of. lookup-p50-ms is the yardstick in the same run: the median of as
// many presence lookups at the same rate, a request that waits for NATS once.
func BenchmarkInviteToRinging(b *testing.B) {
	const pairs, rate, count = 100, 500, 3000
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
	var pings, rings spread
	pace(count, rate, func(i int) {
		start := time.Now()
		if _, err := callers[i%pairs].Presence(b.Context(), benchNumber(2*(i%pairs)+1)); err != nil && protocol.CodeOf(err) != protocol.CodeRate {
			b.Error(err)
		}
		pings.add(time.Since(start))
	})
	pace(count, rate, func(i int) {
		ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
		defer cancel()
		c, start := callers[i%pairs], time.Now()
		k, _, err := c.Invite(ctx, client.NewID(), benchNumber(2*(i%pairs)+1), []protocol.Media{protocol.Audio}, benchSDP)
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
	b.ReportMetric(float64(len(rings.d))/count*100, "%rung")
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

// BenchmarkStoredMessage has 50 phones text 50 others, 500 texts a second and
// then 2,000, each for 4 seconds. stored is from the send to the answer that
// says that the text is on disk, delivered to when the other phone has it.
// fsync-ms is the yardstick in the same run: the median of writing 512 bytes to
// a file on the same disk and syncing it, alone.
func BenchmarkStoredMessage(b *testing.B) {
	for _, rate := range []int{500, 2000} {
		b.Run(fmt.Sprintf("%d-a-second", rate), func(b *testing.B) { benchMessages(b, rate) })
	}
}

func benchMessages(b *testing.B, rate int) {
	const pairs = 50
	s := startBench(b)
	senders := make([]*client.Client, pairs)
	var sent sync.Map
	var stored, delivered spread
	var arrivals sync.WaitGroup
	for i := range pairs {
		senders[i] = s.phone(2 * i)
		receiver := s.phone(2*i + 1)
		defer senders[i].Close()
		defer receiver.Close()
		go discard(senders[i], nil)
		go func() {
			for e := range receiver.Events() {
				it, ok := e.(client.Item)
				if !ok {
					continue
				}
				it.Ack()
				if start, ok := sent.LoadAndDelete(it.ID); ok {
					delivered.add(time.Since(start.(time.Time)))
					arrivals.Done()
				}
			}
		}()
	}
	sync := fsyncs(b, s.dir, 200)
	body := strings.Repeat("x", 400)
	count := 4 * rate
	start := time.Now()
	pace(count, float64(rate), func(i int) {
		id := client.NewID()
		begin := time.Now()
		sent.Store(id, begin)
		arrivals.Add(1)
		if _, err := senders[i%pairs].Send(b.Context(), id, benchNumber(2*(i%pairs)+1), body); err != nil {
			b.Error(err)
			arrivals.Done()
			sent.Delete(id)
			return
		}
		stored.add(time.Since(begin))
	})
	arrivals.Wait()
	b.ReportMetric(float64(count)/time.Since(start).Seconds(), "msg/s")
	b.ReportMetric(stored.at(0.5), "stored-p50-ms")
	b.ReportMetric(stored.at(0.99), "stored-p99-ms")
	b.ReportMetric(delivered.at(0.5), "delivered-p50-ms")
	b.ReportMetric(delivered.at(0.99), "delivered-p99-ms")
	b.ReportMetric(sync.at(0.5), "fsync-p50-ms")
	b.ReportMetric(0, "ns/op")
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
