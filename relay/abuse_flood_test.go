package relay_test

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"

	"switchboard/relay"
)

// strangers are sockets at so many addresses of 127.0.0.0/8, of which each is a source
// of its own to the relay.
func strangers(t testing.TB, n int) []*net.UDPConn {
	t.Helper()
	var all []*net.UDPConn
	for i := range n {
		conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, byte(1+i/250), byte(7*i), byte(1+i%250))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		all = append(all, conn)
	}
	return all
}

// demands are what a stranger may ask: all that the relay might answer, and more.
func demands(t testing.TB, as credentials) [][]byte {
	t.Helper()
	wrong := &raw{as: credentials{as.username, "wrong"}, nonce: stun.NewNonce("of nobody at all")}
	ask := func(m stun.Method, attributes ...stun.Setter) []byte {
		return stun.MustBuild(append([]stun.Setter{stun.TransactionID, stun.NewType(m, stun.ClassRequest)}, attributes...)...).Raw
	}
	return [][]byte{
		ask(stun.MethodBinding),
		ask(stun.MethodBinding, attribute{0x7fff, nil}),
		ask(stun.MethodAllocate),
		ask(stun.MethodAllocate, udpRelay),
		ask(stun.MethodAllocate, udpRelay, attribute{stun.AttrMessageIntegrity, make([]byte, 20)}),
		ask(stun.MethodRefresh),
		ask(stun.MethodConnect, udpRelay),
		wrong.request(t, stun.MethodAllocate, udpRelay).Raw,
		wrong.request(t, stun.MethodRefresh).Raw,
		wrong.request(t, stun.MethodChannelBind, channel(0x4000), peer("127.0.0.1:5000")).Raw,
		sendIndication(peer("127.0.0.1:5000"), attribute{stun.AttrData, []byte("data")}),
		channelData(0x4000, []byte("data")),
		[]byte("garbage"),
	}
}

// A flood from many sources, each of which stays below its limit, is answered with
// little more than it sent, and a call in progress loses nothing. The flood has 2,000
// packets a second, so that no socket's buffer overflows on a slow machine; that is the
// kernel's loss and not the relay's.
func TestFloodFromManySources(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *relay.Config) { c.Realm = "a-realm-of-24-characters"; c.Quotas.AllocationsPerUser = 1000 })
	const sources, seconds, every = 250, 2, 20 * time.Millisecond
	as := mint(t, "call", "alice", time.Now())

	// The call: a packet each 20 ms, which a peer sends back.
	call := s.raw(t, "udp", as)
	call.realm = "a-realm-of-24-characters"
	call.allocated(t)
	call.bind(t, 0x4000, echo(t).String())
	var sent, back int
	var talk sync.WaitGroup
	quiet := make(chan struct{})
	talk.Go(func() {
		seen := make(map[string]bool)
		tick := time.NewTicker(every)
		defer tick.Stop()
		listen := func(within time.Duration) {
			for end := time.Now().Add(within); time.Now().Before(end); {
				if b := call.packet(t, time.Until(end)); len(b) > 4 && b[0] == 0x40 && !seen[string(b)] {
					seen[string(b)] = true
					back++
				}
			}
		}
		for {
			select {
			case <-quiet:
				for end := time.Now().Add(patience); back < sent && time.Now().Before(end); {
					listen(every)
				}
				return
			case <-tick.C:
			}
			call.send(t, channelData(0x4000, fmt.Appendf(nil, "packet %6d", sent)))
			sent++
			listen(every / 2)
		}
	})

	all, asked := strangers(t, sources), demands(t, as)
	var out, in, answers atomic.Int64
	var readers sync.WaitGroup
	for _, conn := range all {
		readers.Go(func() {
			b := make([]byte, 2048)
			for {
				n, _, err := conn.ReadFromUDP(b)
				if err != nil {
					return
				}
				in.Add(int64(n + overhead))
				answers.Add(1)
			}
		})
	}
	to, err := net.ResolveUDPAddr("udp", s.address("udp"))
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := 0; time.Since(begin) < seconds*time.Second; i++ {
		for due := int(time.Since(begin).Seconds() * 2000); i > due; due = int(time.Since(begin).Seconds() * 2000) {
			time.Sleep(time.Millisecond)
		}
		b := asked[(i/sources+i)%len(asked)]
		if _, err := all[i%sources].WriteToUDP(b, to); err != nil {
			t.Fatal(err)
		}
		out.Add(int64(len(b) + overhead))
	}
	close(quiet)
	talk.Wait() // by then the relay has read the flood
	for _, conn := range all {
		conn.Close()
	}
	readers.Wait()

	if answers.Load() < 500 {
		t.Errorf("%d answers: the flood asks nothing that is answered", answers.Load())
	}
	if factor := float64(in.Load()) / float64(out.Load()); factor > 1.9 {
		t.Errorf("%d bytes are answered with %d: %.2f times", out.Load(), in.Load(), factor)
	}
	if sent < 20 || back != sent {
		t.Errorf("the call: %d packets of %d are back", back, sent)
	}
	if n := s.Allocations(); n != 1 {
		t.Errorf("%d allocations", n)
	}
}

// BenchmarkFlood reports what a request of a stranger costs a relay in a process of its
// own, in CPU time of user and kernel, by kind: within its source's limit, and beyond it.
func BenchmarkFlood(b *testing.B) {
	for _, limit := range []struct {
		name string
		rate int
	}{{"answered", 100000}, {"limited", 1}} {
		for _, kind := range []struct {
			name string
			at   int
		}{{"Binding", 0}, {"Allocate", 3}, {"wrong password", 7}, {"ChannelData", 11}, {"garbage", 12}} {
			b.Run(limit.name+"/"+kind.name, func(b *testing.B) {
				c := startChild(b, relay.ChildConfig{Rate: limit.rate})
				ask := demands(b, mint(b, "call", "alice", time.Now()))[kind.at]
				conn, err := net.Dial("udp", c.address("udp"))
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				before := c.cpu(b)
				n := 0
				for b.Loop() {
					conn.Write(ask)
					if n++; n%64 == 0 {
						time.Sleep(time.Millisecond) // or the kernel would drop them, which costs the relay nothing
					}
				}
				b.ReportMetric(float64((c.cpu(b)-before).Nanoseconds())/float64(n), "cpu-ns/request")
			})
		}
	}
}

// cpu is the CPU time that the process has used, of user and kernel.
func (c child) cpu(t testing.TB) time.Duration {
	t.Helper()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(c.pid) + "/stat")
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
	var ticks int
	for _, at := range []int{11, 12} { // utime and stime, in hundredths of a second
		n, err := strconv.Atoi(fields[at])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
