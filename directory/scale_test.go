package directory_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/e164"
	"switchboard/directory/natsnode"
)

var accounts = flag.Int("accounts", 1_000_000, "how many accounts BenchmarkManyAccounts has in the directory")

// cacheFor is how long the server keeps in memory what it has just written.
const cacheFor = 15 * time.Second

// oneIn is how many accounts there are to one whose device is connected.
const oneIn = 10

// BenchmarkManyAccounts runs on the embedded server, in this process, with
// -accounts accounts of one device each, of which one in ten is connected.
// MiB is how much resident memory they take, in server and client, once the
// server has put down the blocks that it was writing. lookup is what a call
// begins with, from a number to the account and to the bindings that hold; that
// is two requests. record, to compare it with, is one record by the NATS client's
// own Get. connect is a Bind and its Unbind.
func BenchmarkManyAccounts(b *testing.B) {
	n := directorytest.NATS(b)
	d := directorytest.Open(b, n, "n1", nil)
	c := &city{n: n, d: d, secret: []byte("0123456789abcdef")}
	empty := residentKiB(b)
	began := time.Now()
	c.populate(b, *accounts)
	b.Logf("%d accounts, %d connected devices, made in %v", len(c.accounts), len(c.accounts)/oneIn, time.Since(began).Round(time.Second))
	time.Sleep(cacheFor)
	debug.FreeOSMemory()
	grown := residentKiB(b) - empty

	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("lookup/%d-callers", callers), func(b *testing.B) {
			percentiles(b, callers, func(ctx context.Context) error {
				i := rand.IntN(len(c.accounts))
				a, err := d.Resolve(ctx, c.number(b, i))
				if err != nil || a != c.accounts[i] {
					return fmt.Errorf("account %q, want %q: %w", a, c.accounts[i], err)
				}
				got, err := d.Bindings(ctx, a)
				if connected := i%oneIn == 0; (len(got) == 1) != connected || err != nil {
					return fmt.Errorf("%d bindings, connected %v: %w", len(got), connected, err)
				}
				return nil
			})
			b.ReportMetric(float64(grown)/1024, "MiB")
		})
	}
	kv, err := n.JetStream().KeyValue(b.Context(), "ACCT")
	if err != nil {
		b.Fatal(err)
	}
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("record/%d-callers", callers), func(b *testing.B) {
			percentiles(b, callers, func(ctx context.Context) error {
				_, err := kv.Get(ctx, "a."+string(c.accounts[rand.IntN(len(c.accounts))]))
				return err
			})
		})
	}
	var conn atomic.Uint64
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("connect/%d-callers", callers), func(b *testing.B) {
			percentiles(b, callers, func(ctx context.Context) error {
				i := conn.Add(1)
				a := c.accounts[i*oneIn%uint64(len(c.accounts))]
				fence, _, err := d.Bind(ctx, a, 2, "c"+strconv.FormatUint(i, 10))
				if err != nil {
					return err
				}
				if did, err := d.Unbind(ctx, a, 2, fence); !did || err != nil {
					return fmt.Errorf("unbound %v: %w", did, err)
				}
				return nil
			})
		})
	}
}

// percentiles runs op by several callers at a time and reports its rate and how
// long it took.
func percentiles(b *testing.B, callers int, op func(context.Context) error) {
	var mu sync.Mutex
	var took []time.Duration
	b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
	b.ResetTimer()
	run := func(next func() bool) {
		var own []time.Duration
		for next() {
			began := time.Now()
			if err := op(b.Context()); err != nil {
				b.Error(err)
				return
			}
			own = append(own, time.Since(began))
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, own...)
	}
	if callers == 1 {
		run(b.Loop)
	} else {
		b.RunParallel(func(pb *testing.PB) { run(pb.Next) })
	}
	b.StopTimer()
	rate(b)
	if len(took) == 0 {
		return
	}
	slices.Sort(took)
	at := func(p float64) float64 {
		return float64(took[min(len(took)-1, int(p*float64(len(took))))].Nanoseconds()) / 1e3
	}
	b.ReportMetric(at(0.50), "µs-p50")
	b.ReportMetric(at(0.99), "µs-p99")
}

// city is a directory with many people.
type city struct {
	n        *natsnode.Node
	d        *directory.Directory
	secret   []byte
	accounts []directory.Account
}

func (c *city) number(tb testing.TB, i int) e164.Number {
	n, err := e164.Parse(fmt.Sprintf("+1%d%07d", 415+i/8_000_000, 2_000_000+i%8_000_000), "")
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

// populate writes records as the directory would, many at a time.
func (c *city) populate(tb testing.TB, count int) {
	accounts, devices := newBatches(tb, c.n, "ACCT"), newBatches(tb, c.n, "DEVS")
	created := time.Now().UTC().Truncate(time.Second)
	for i := range count {
		a, n := directory.NewAccount(), c.number(tb, i)
		c.accounts = append(c.accounts, a)
		accounts.put("a."+string(a), directory.AccountRecord{V: 1, Account: a, Number: n, Created: created, LastDevice: 1})
		accounts.put(directory.NumberKey(c.secret, n), map[string]any{"v": 1, "account": a, "created": created})
		devices.put(directory.DeviceKey(a, 1), directory.DeviceRecord{V: 1, Account: a, Device: 1, Name: "phone", Created: created})
		if i%oneIn == 0 {
			c.connect(tb, a, created)
		}
	}
	accounts.flush()
	devices.flush()
	select {
	case <-c.n.JetStream().PublishAsyncComplete():
	case <-time.After(time.Minute):
		tb.Fatal("bindings are not written in a minute")
	}
}

// connect binds a device without waiting for it.
func (c *city) connect(tb testing.TB, a directory.Account, at time.Time) {
	data, err := json.Marshal(directory.Binding{V: 1, Account: a, Device: 1, Node: c.d.Incarnation(), Conn: "c", Since: at})
	if err == nil {
		_, err = c.n.JetStream().PublishAsync("$KV.PRES."+directory.DeviceKey(a, 1), data)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

// batches writes to a bucket in atomic batches, each of which is synced to disk
// at once.
type batches struct {
	tb      testing.TB
	nc      *nats.Conn
	bucket  string
	waiting []*nats.Msg
	made    int
}

// batchOf is the most that the server takes in a batch.
const batchOf = 1000

func newBatches(tb testing.TB, n *natsnode.Node, bucket string) *batches {
	tb.Helper()
	s, err := n.JetStream().Stream(tb.Context(), "KV_"+bucket)
	if err != nil {
		tb.Fatal(err)
	}
	config := s.CachedInfo().Config
	config.AllowAtomicPublish = true
	if _, err := n.JetStream().UpdateStream(tb.Context(), config); err != nil {
		tb.Fatal(err)
	}
	return &batches{tb: tb, nc: n.Conn(), bucket: bucket}
}

func (b *batches) put(key string, v any) {
	m := nats.NewMsg("$KV." + b.bucket + "." + key)
	var err error
	if m.Data, err = json.Marshal(v); err != nil {
		b.tb.Fatal(err)
	}
	if b.waiting = append(b.waiting, m); len(b.waiting) == batchOf {
		b.flush()
	}
}

func (b *batches) flush() {
	if len(b.waiting) == 0 {
		return
	}
	b.made++
	for i, m := range b.waiting {
		m.Header.Set("Nats-Batch-Id", fmt.Sprintf("%s-%d", b.bucket, b.made))
		m.Header.Set("Nats-Batch-Sequence", strconv.Itoa(i+1))
		if i < len(b.waiting)-1 {
			if err := b.nc.PublishMsg(m); err != nil {
				b.tb.Fatal(err)
			}
		}
	}
	last := b.waiting[len(b.waiting)-1]
	last.Header.Set("Nats-Batch-Commit", "1")
	reply, err := b.nc.RequestMsg(last, 30*time.Second)
	if err != nil {
		b.tb.Fatal(err)
	}
	var ack struct {
		Error *jetstream.APIError `json:"error"`
		Count int                 `json:"count"`
	}
	if err := json.Unmarshal(reply.Data, &ack); err != nil || ack.Error != nil || ack.Count != len(b.waiting) {
		b.tb.Fatalf("a batch of %d: %d written, %v, %v", len(b.waiting), ack.Count, ack.Error, err)
	}
	b.waiting = b.waiting[:0]
}

// residentKiB is the resident memory of this process.
func residentKiB(tb testing.TB) int {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skipf("resident memory is not known here: %v", err)
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			n, _ := strconv.Atoi(f[1])
			return n
		}
	}
	tb.Skip("resident memory is not known here")
	return 0
}

// Devices that are connected and do nothing cost NATS nothing: by the count of
// the streams themselves, nothing is written but the lease of their node.
func TestIdleDevicesCostNoWrites(t *testing.T) {
	n := directorytest.NATS(t)
	d := directorytest.Open(t, n, "n1", func(c *directory.Config) { c.LeaseTTL, c.RenewEvery = 3*time.Second, 200*time.Millisecond })
	for i := range 50 {
		a, dev := device(t, d, i)
		if _, _, err := d.Bind(t.Context(), a, dev, "c"); err != nil {
			t.Fatal(err)
		}
	}
	before := written(t, n)
	if before["KV_PRES"] < 50 || before["KV_ACCT"] < 50 {
		t.Fatalf("the streams do not count: %v", before)
	}
	deadline := time.After(20 * time.Second)
	for written(t, n)["KV_NODES"] < before["KV_NODES"]+5 {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-deadline:
			t.Fatal("the lease is not renewed")
		}
	}
	for stream, after := range written(t, n) {
		if stream != "KV_NODES" && after != before[stream] {
			t.Errorf("%s: %d writes while nothing happened", stream, after-before[stream])
		}
	}
}

// written is how many writes each stream has ever had.
func written(t *testing.T, n *natsnode.Node) map[string]uint64 {
	t.Helper()
	all := map[string]uint64{}
	list := n.JetStream().ListStreams(t.Context())
	for s := range list.Info() {
		all[s.Config.Name] = s.State.LastSeq
	}
	if err := list.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
