package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

// TestTwoNodes lets two processes share a NATS. A call goes across them and
// outlives the one that the caller is connected to.
func TestTwoNodes(t *testing.T) {
	nats := startNATS(t).ClientURL()
	first, second := clusterNode(t, nats, "one"), clusterNode(t, nats, "two")
	second.config.SecretFile = first.config.SecretFile
	p1, p2 := start(t, first), start(t, second)
	tokenA, tokenB := register(t, p1.Addrs, alice), register(t, p1.Addrs, bob)

	door := openDoor(t, p1.HTTP)
	a, b := connect(t, Addrs{URL: "http://" + door.addr}, tokenA), connect(t, p2.Addrs, tokenB)
	send(t, a, bob, "across")
	if got := awaitText(t, b); got.Body != "across" {
		t.Errorf("text %q", got.Body)
	}
	callThrough(t, a, b)

	out, in := talk(t, a, b)
	await[client.Connected](t, a)
	door.leadTo(p2.HTTP)
	if err := p1.end(); err != nil {
		t.Fatalf("asked to end: %v", err)
	}
	if again := await[client.Connected](t, a); again.Welcome.Node == "" || len(again.Welcome.Calls) != 1 {
		t.Errorf("connected again to %q with calls %v, want the one in progress", again.Welcome.Node, again.Welcome.Calls)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := in.Hangup(ctx, ""); err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Ended](t, out)
}

// talk lets a call b, whose number is bob, and b answer.
func talk(t *testing.T, a, b *client.Client) (out, in *client.Call) {
	t.Helper()
	return talkTo(t, a, b, bob)
}

// talkTo is talk where b has another number.
func talkTo(t *testing.T, a, b *client.Client, number string) (out, in *client.Call) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, _, err := a.Invite(ctx, client.NewID(), number, []protocol.Media{protocol.Audio}, "v=0 offer")
	if err != nil {
		t.Fatal(err)
	}
	in = await[client.Incoming](t, b).Call
	if err := in.Answer(ctx, "v=0 answer"); err != nil {
		t.Fatal(err)
	}
	awaitIn[client.Answered](t, out)
	return out, in
}

// TestNATSAway takes NATS away for longer than the lease of a node. Connections
// stay and calls go on, requests are refused for the moment, and once NATS is back
// devices are found again, without having noticed.
func TestNATSAway(t *testing.T) {
	dir := t.TempDir()
	nats := runNATS(t, dir, server.RANDOM_PORT)
	port := nats.Addr().(*net.TCPAddr).Port
	var nodes []*process
	secret := ""
	for i, name := range []string{"one", "two"} {
		n := clusterNode(t, nats.ClientURL(), name)
		d := &n.config.Directory
		d.LeaseTTL, d.RenewEvery, d.RequestTimeout = 2*time.Second, 200*time.Millisecond, 500*time.Millisecond
		n.config.Signaling.RequestTimeout = time.Second
		if i > 0 {
			n.config.SecretFile = secret
		}
		secret = n.config.SecretFile
		nodes = append(nodes, start(t, n))
	}
	a := connect(t, nodes[0].Addrs, register(t, nodes[0].Addrs, alice))
	b := connect(t, nodes[1].Addrs, register(t, nodes[0].Addrs, bob))
	await[client.Connected](t, a)
	await[client.Connected](t, b)
	out, in := talk(t, a, b)
	nats.Shutdown()
	nats.WaitForShutdown()
	for _, p := range nodes {
		eventually(t, func() bool {
			status, why := p.get(p.Ops, "/readyz")
			return status == http.StatusServiceUnavailable && strings.Contains(why, "lease")
		})
		if status, _ := p.get(p.Ops, "/healthz"); status != http.StatusOK {
			t.Errorf("without NATS, the process counts as dead: %d", status)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var refused *protocol.Error
	if _, err := a.Presence(ctx, bob); !errors.As(err, &refused) || refused.Code != protocol.CodeUnavailable || !refused.Retry || refused.AfterMS == 0 {
		t.Errorf("a request without NATS: %v", err)
	}

	runNATS(t, dir, port)
	for _, p := range nodes {
		eventually(t, func() bool { status, _ := p.get(p.Ops, "/readyz"); return status == http.StatusOK })
	}
	eventually(t, func() bool {
		_, err := a.Presence(ctx, bob)
		return err == nil
	})
	if err := in.Hangup(ctx, ""); err != nil {
		t.Errorf("the call from before: %v", err)
	}
	awaitIn[client.Ended](t, out)
	send(t, a, bob, "after")
	if got := awaitText(t, b); got.Body != "after" {
		t.Errorf("text %q", got.Body)
	}
	callThrough(t, a, b)
	for _, c := range []*client.Client{a, b} {
		for len(c.Events()) > 0 {
			if e, lost := (<-c.Events()).(client.Disconnected); lost {
				t.Errorf("a connection was lost: %v", e.Err)
			}
		}
	}
}

// TestNATSRestarted restarts NATS long before leases would end. What it had in
// memory is lost all the same, and devices are found again as quickly.
func TestNATSRestarted(t *testing.T) {
	dir := t.TempDir()
	nats := runNATS(t, dir, server.RANDOM_PORT)
	port := nats.Addr().(*net.TCPAddr).Port
	n := clusterNode(t, nats.ClientURL(), "one")
	n.config.Directory.LeaseTTL = time.Minute
	p := start(t, n)
	a, b := connect(t, p.Addrs, register(t, p.Addrs, alice)), connect(t, p.Addrs, register(t, p.Addrs, bob))
	await[client.Connected](t, a)
	await[client.Connected](t, b)
	nats.Shutdown()
	nats.WaitForShutdown()
	runNATS(t, dir, port)
	eventually(t, func() bool {
		_, metrics := p.get(p.Ops, "/metrics")
		return strings.Contains(metrics, `switchboard_directory_operations_total{op="rebind",result="ok"} 2`)
	})
	callThrough(t, a, b)
}

// startNATS runs a NATS server on loopback.
func startNATS(t *testing.T) *server.Server {
	t.Helper()
	return runNATS(t, t.TempDir(), server.RANDOM_PORT)
}

func runNATS(t *testing.T, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: port, JetStream: true, StoreDir: dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(patience) {
		t.Fatal("NATS did not start")
	}
	return s
}

func clusterNode(t *testing.T, nats, name string) *node {
	t.Helper()
	return testNode(t, "{node: "+name+", nats: {url: '"+nats+"', replicas: 1}}")
}

// door is one address behind which the node changes, as behind a load balancer.
type door struct {
	addr string
	to   atomic.Value // string
}

func (d *door) leadTo(addr string) { d.to.Store(addr) }

func openDoor(t *testing.T, to string) *door {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{addr: ln.Addr().String()}
	d.leadTo(to)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", d.to.Load().(string))
			if err != nil {
				in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				all.Go(func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() { ln.Close(); all.Wait() })
	return d
}
