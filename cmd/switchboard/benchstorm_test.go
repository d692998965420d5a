package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"switchboard/signaling/protocol"
)

// stormDevices is how many there are. Each costs a file on both sides, so fewer
// where that many are not allowed.
const stormDevices = 20_000

// BenchmarkReconnectStorm has 20,000 devices connected, cuts all their
// connections, without a word, and has all of them dial again at once, without
// jitter. Whoever is refused for the moment, or cannot dial, tries again with the
// SDKs' backoff, which retries counts; whoever is told not to come back is an
// error. back is, for each, from the cut until the server has welcomed it and has
// said that its mailbox is empty; max is when all are. cpu-s is what the servers'
// processes used for it. Devices dial from 16 loopback addresses, because one has
// too few ports.
//
// bare is the yardstick in the same run: half as many WebSockets opened at once
// with a server of nothing but gorilla/websocket, in the process of the clients,
// whose files they are on both sides; and twice the time that it took.
func BenchmarkReconnectStorm(b *testing.B) {
	n := allowFiles(b, stormDevices)
	b.Run("embedded", func(b *testing.B) { benchStorm(startBench(b), n) })
	b.Run("cluster", func(b *testing.B) { benchStorm(startBenchCluster(b), n) })
}

// allowFiles raises the limit on open files, for this process and those that it
// starts, and returns how many of n connections it permits.
func allowFiles(b *testing.B, n int) int {
	const others = 1000
	want := uint64(n + others)
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		b.Fatal(err)
	}
	higher := syscall.Rlimit{Cur: max(l.Cur, want), Max: max(l.Max, want)}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &higher) == nil {
		return n
	}
	l.Cur = l.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		b.Fatal(err)
	}
	n = min(n, int(l.Max-others))
	b.Logf("at most %d files may be open: %d devices", l.Max, n)
	return n
}

// stormDialer dials from one of 16 loopback addresses.
func stormDialer(i int) *websocket.Dialer {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i%16))}}
	return &websocket.Dialer{
		Subprotocols: []string{protocol.Subprotocol}, ReadBufferSize: 256, WriteBufferSize: 256, HandshakeTimeout: time.Minute,
		NetDialContext: d.DialContext,
	}
}

// storm is a crowd of devices and their connections.
type storm struct {
	s      *benchServer
	tokens []string
	conns  []*websocket.Conn
	back   spread
	failed atomic.Int64
	again  atomic.Int64 // tries after the first
	why    sync.Map     // error text to true
}

// connect opens all sessions, each in a goroutine of its own; no more than so
// many at a time, or all at once with 0. Times count from the beginning.
func (m *storm) connect(ctx context.Context, atOnce int) {
	if atOnce == 0 {
		atOnce = len(m.tokens)
	}
	m.back = spread{}
	start, slots := time.Now(), make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i := range m.tokens {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			ws, err := m.insist(ctx, i)
			if err != nil {
				m.failed.Add(1)
				m.why.Store(err.Error(), true)
				return
			}
			m.conns[i] = ws
			m.back.add(time.Since(start))
		})
	}
	wg.Wait()
}

// insist connects a device as the SDKs do.
func (m *storm) insist(ctx context.Context, i int) (*websocket.Conn, error) {
	const patience = 2 * time.Minute
	bound := 250 * time.Millisecond
	for end := time.Now().Add(patience); ; bound = min(2*bound, 15*time.Second) {
		ws, err := m.session(ctx, i)
		var closed *websocket.CloseError
		if err == nil || errors.As(err, &closed) && !protocol.CloseCode(closed.Code).Reconnect() || time.Now().After(end) {
			return ws, err
		}
		m.why.Store("again: "+err.Error(), true)
		m.again.Add(1)
		time.Sleep(rand.N(bound))
	}
}

// session opens one and returns it after the end of its empty mailbox.
func (m *storm) session(ctx context.Context, i int) (*websocket.Conn, error) {
	url := "ws" + strings.TrimPrefix(m.s.urls[i%len(m.s.urls)], "http") + protocol.SocketPath
	ws, _, err := stormDialer(i).DialContext(ctx, url, nil)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", withoutAddrs(err))
	}
	raw, err := protocol.Encode(protocol.Frame{}, &protocol.Hello{Token: m.tokens[i]})
	if err == nil {
		err = ws.SetReadDeadline(time.Now().Add(time.Minute))
	}
	if err == nil {
		err = ws.WriteMessage(websocket.TextMessage, raw)
	}
	for err == nil {
		var text []byte
		if _, text, err = ws.ReadMessage(); err == nil && strings.Contains(string(text), `"mailbox.drained"`) {
			return ws, nil
		}
	}
	ws.Close()
	return nil, fmt.Errorf("session: %w", withoutAddrs(err))
}

// withoutAddrs takes out of an error what is different for each connection.
func withoutAddrs(err error) error {
	if o, ok := err.(*net.OpError); ok {
		return o.Err
	}
	return err
}

// cut breaks all connections.
func (m *storm) cut() {
	for _, ws := range m.conns {
		if ws == nil {
			continue
		}
		if c, ok := ws.NetConn().(*net.TCPConn); ok {
			_ = c.SetLinger(0) // a reset: nothing is left of it in the kernel
		}
		ws.Close()
	}
	clear(m.conns)
}

func benchStorm(s *benchServer, n int) {
	b := s.b
	m := &storm{s: s, conns: make([]*websocket.Conn, n)}
	for i := range n {
		m.tokens = append(m.tokens, s.token(i))
	}
	m.connect(b.Context(), 64) // that makes the devices
	if m.failed.Load() > 0 {
		b.Fatalf("%d devices did not connect at first: %v", m.failed.Load(), m.reasons())
	}
	m.why.Clear()
	m.again.Store(0)
	before := s.cost()
	m.cut()
	m.connect(b.Context(), 0)
	s.reportCost(before, true)
	for _, why := range m.reasons() {
		b.Log(why)
	}
	b.ReportMetric(m.back.at(0.5)/1000, "back-p50-s")
	b.ReportMetric(m.back.at(0.99)/1000, "back-p99-s")
	b.ReportMetric(m.back.at(1)/1000, "back-max-s")
	b.ReportMetric(float64(m.failed.Load()), "errors")
	b.ReportMetric(float64(m.again.Load()), "retries")
	b.ReportMetric(float64(n), "devices")
	m.cut()
	bare := bareStorm(b, n/2)
	b.ReportMetric(2*bare.at(1)/1000, "bare-max-s")
	b.ReportMetric(0, "ns/op")
}

func (m *storm) reasons() (all []string) {
	m.why.Range(func(k, _ any) bool {
		all = append(all, k.(string))
		return len(all) < 10
	})
	return all
}

// bareStorm opens some WebSockets at once and does nothing with them.
func bareStorm(b *testing.B, n int) *spread {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	up := websocket.Upgrader{ReadBufferSize: 256, WriteBufferSize: 256}
	var held sync.Map
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := up.Upgrade(w, r, nil); err == nil {
			held.Store(ws, true)
		}
	})}
	go srv.Serve(ln)
	defer srv.Close()
	took := &spread{}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			ws, _, err := stormDialer(i).DialContext(b.Context(), "ws://"+ln.Addr().String(), nil)
			if err != nil {
				b.Errorf("bare: %v", withoutAddrs(err))
				return
			}
			took.add(time.Since(start))
			held.Store(ws, true)
		})
	}
	wg.Wait()
	held.Range(func(k, _ any) bool {
		if c, ok := k.(*websocket.Conn).NetConn().(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
		k.(*websocket.Conn).Close()
		return true
	})
	return took
}
