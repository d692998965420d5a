package chaos

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"switchboard/cmd/internal/ledger"
	"switchboard/cmd/switchboard/internal/fleet"
	"switchboard/signaling/admin"
	"switchboard/signaling/client"
	"switchboard/signaling/protocol"
)

var long = flag.Duration("chaos", 0, "how long to break things; 0 is the short form, one fault of each kind")

func TestMain(m *testing.M) { goleak.VerifyTestMain(cleaning{m}) }

// cleaning removes the programs in the end.
type cleaning struct{ m *testing.M }

func (c cleaning) Run() int {
	defer func() { _ = os.RemoveAll(built.dir) }()
	return c.m.Run()
}

const (
	// phones is how many people there are; tablets of them have a second device,
	// on which they do not answer calls. Each device sends so often.
	phones    = 12
	tablets   = 4
	sendEvery = 400 * time.Millisecond
	// backWithin is the promise: from the end of a fault on, or from its
	// beginning if others can take over, whatever a phone asks for is done.
	backWithin = 10 * time.Second
)

// electWithin is what an election of NATS may add to it.
const electWithin = 10 * time.Second

// people lets a number get a second device at once, and a phone that was stopped
// send at once what its owner wrote all the same.
const people = `
auth: {code_resend: 0s}
signaling: {limits: {messages_burst: 1000, pair_messages_burst: 1000}}
`

// quick has a short form see in seconds what takes longer by default.
const quick = `
directory: {lease_ttl: 3s, renew_every: 500ms}
signaling: {heartbeat: 2s, limits: {messages_burst: 1000, pair_messages_burst: 1000}}
auth: {code_resend: 0s}
`

// TestChaos breaks an installation of three NATS servers and three nodes, part
// by part, while phones text and talk.
func TestChaos(t *testing.T) {
	c := &chaos{t: t, network: newNetwork(), ledger: &notes{texts: ledger.New(), rung: map[string]string{}}}
	settings, frozen, stopped := quick, 5*time.Second, 8*time.Second
	// The machines that run tests are shared: a promise in seconds is for the
	// long form, run by itself.
	c.patience = 4 * backWithin
	if *long > 0 {
		// Longer than the lease, and longer than nodes wait for a sign of life.
		settings, frozen, stopped, c.patience = people, 20*time.Second, 75*time.Second, backWithin
	}
	c.start(settings)
	c.usage()
	faults := c.faults(frozen, stopped)
	if *long == 0 {
		for _, f := range faults[:6] {
			c.breakOne(f)
		}
	}
	var deck []int // every fault once, in a random order, then anew
	for end := time.Now().Add(*long); time.Now().Before(end) && !t.Failed(); deck = deck[1:] {
		if len(deck) == 0 {
			deck = rand.Perm(len(faults))
		}
		c.breakOne(faults[deck[0]])
	}
	c.finish()
}

type chaos struct {
	t        *testing.T
	fleet    *fleet.Fleet
	urls     string // of NATS
	log      bytes.Buffer
	ledger   *notes
	network  *network
	phones   []*phone      // the tablets at the end
	patience time.Duration // how soon a phone must be back
	idle     int           // goroutines of a node that nobody is connected to, at most
	calls    calls
	stop     context.CancelFunc // ends the usage
	use      sync.WaitGroup
}

func (c *chaos) say(format string, args ...any) {
	c.t.Helper()
	if *long > 0 {
		fmt.Printf("%s  %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
		return
	}
	c.t.Logf(format, args...)
}

func (c *chaos) start(settings string) {
	t := c.t
	bin := programs(t)
	began := time.Now()
	var err error
	c.fleet, err = fleet.Start(t.Context(), fleet.Config{
		Dir: t.TempDir(), NATS: filepath.Join(bin, "nats-server"), Switchboard: filepath.Join(bin, "switchboard"),
		Servers: 3, Nodes: 3, Settings: settings, Log: &c.log,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, tail(c.log.String()))
	}
	t.Cleanup(func() {
		if err := c.fleet.Close(); err != nil {
			t.Error(err)
		}
		c.private()
		if file := os.Getenv("CHAOS_LOG"); file != "" {
			_ = os.WriteFile(file, c.log.Bytes(), 0o600)
		}
		if t.Failed() {
			t.Logf("the end of the log (all of it: CHAOS_LOG=file):\n%s", tail(c.log.String()))
		}
	})
	c.urls = c.fleet.NATS
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for _, node := range c.fleet.Nodes {
		n, err := goroutines(ctx, node)
		if err != nil {
			t.Fatal(err)
		}
		c.idle = max(c.idle, n)
	}
	for i := range phones + tablets {
		number := fmt.Sprintf("+1415555%04d", 150+i%phones)
		p, err := register(ctx, c.fleet, c.network, c.ledger, number, i < phones)
		for passing(err) && pause(ctx, time.Second) { // a cluster that has only just elected
			p, err = register(ctx, c.fleet, c.network, c.ledger, number, i < phones)
		}
		if err != nil {
			t.Fatalf("phone %d: %v", i, err)
		}
		c.phones = append(c.phones, p)
	}
	c.say("3 NATS servers, 3 nodes, %d phones and a second device of %d of them are up after %v", phones, tablets, time.Since(began).Round(100*time.Millisecond))
}

// passing reports whether an error says that the same may be asked again.
func passing(err error) bool {
	e, ok := errors.AsType[*protocol.Error](err)
	return ok && e.Retry
}

// usage has each phone send texts to others, and some of them call each other,
// until stop is called.
func (c *chaos) usage() {
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	c.t.Cleanup(func() {
		stop()
		c.use.Wait()
		for _, p := range c.phones {
			p.close()
		}
	})
	c.callers(ctx)
	for i, p := range c.phones {
		c.use.Go(func() {
			for pause(ctx, sendEvery/2+rand.N(sendEvery)) {
				to := c.phones[(i+1+rand.IntN(phones-1))%phones]
				c.use.Go(func() { p.send(context.WithoutCancel(ctx), to.number) })
			}
		})
	}
}

// faults are those to choose from; the first six are one of each kind.
func (c *chaos) faults(frozen, stopped time.Duration) []fault {
	cold := func(what string, p *fleet.Process) fault { return freeze(what, p, frozen) }
	all := []fault{
		kill("node1", c.fleet.Nodes[0].Process),
		ofLeader(c.fleet, c.urls, "INBOX_0", kill),
		cold("node2", c.fleet.Nodes[1].Process),
		ofLeader(c.fleet, c.urls, "KV_PRES", cold),
		c.network.lossy(0.05, frozen),
		c.network.stopped(stopped),
	}
	for _, n := range c.fleet.Nodes {
		all = append(all, kill(n.Name, n.Process), cold(n.Name, n.Process))
	}
	for _, stream := range []string{"INBOX_0", "INBOX_1", "INBOX_2", "INBOX_3", "KV_ACCT", "KV_DEVS", "KV_PRES", "KV_NODES", "KV_CALLS"} {
		all = append(all, ofLeader(c.fleet, c.urls, stream, kill), ofLeader(c.fleet, c.urls, stream, cold))
	}
	return all
}

// breakOne does one fault, while two pairs talk, and checks what came of it.
func (c *chaos) breakOne(f fault) {
	t := c.t
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	c.whole(ctx)
	talks := c.talk(ctx)
	began := time.Now()
	from, err := f.do(ctx)
	if err != nil {
		t.Fatalf("%s: %v", f.name, err)
	}
	c.settle(ctx, from)
	worst, texts := c.latency(began, from)
	patience := c.patience
	if f.elects {
		patience += electWithin
	}
	c.calls.trouble(began, from.Add(patience))
	c.say("%s: %d texts meanwhile, the slowest there after %v", f.name, texts, worst.Round(10*time.Millisecond))
	if worst > patience {
		t.Errorf("%s: a phone was back after %v, want %v", f.name, worst.Round(10*time.Millisecond), patience)
	}
	c.hangUp(ctx, f, talks)
	c.whereDevicesAre(ctx, f)
}

// whole waits until every part has got over what was done to it before: the
// promises are for one fault at a time.
func (c *chaos) whole(ctx context.Context) {
	for _, p := range c.fleet.Servers {
		for !p.Ready() {
			if !pause(ctx, 50*time.Millisecond) {
				c.t.Fatalf("%s does not get over it", p.Name)
			}
		}
	}
}

// settle waits until what was sent up to backWithin after a fault is taken, or
// it is clear that it took too long.
func (c *chaos) settle(ctx context.Context, from time.Time) {
	pause(ctx, time.Until(from.Add(3*time.Second)))
	deadline := from.Add(c.patience + electWithin + 5*time.Second)
	for time.Now().Before(deadline) {
		if c.open(time.Now().Add(-time.Second)) == 0 {
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// open counts texts that were sent before a moment and are not acknowledged, or
// not there.
func (c *chaos) open(before time.Time) (n int) {
	for _, p := range c.ledger.texts.Passages(time.Time{}) {
		if (p.Stored.IsZero() || p.Missing > 0) && p.Begun.Before(before) {
			n++
		}
	}
	return n
}

// latency is how long the slowest of the texts took that were sent since the
// fault began, until it was acknowledged and its receiver had it, counted from
// when all had to be well.
func (c *chaos) latency(began, from time.Time) (worst time.Duration, n int) {
	texts := c.ledger.texts.Passages(began)
	for _, p := range texts {
		start := p.Begun
		if start.Before(from) {
			start = from
		}
		for _, end := range []time.Time{p.Stored, p.Last()} {
			if end.IsZero() {
				end = time.Now()
			}
			worst = max(worst, end.Sub(start))
		}
	}
	return worst, len(texts)
}

// talk begins calls that last through a fault.
func (c *chaos) talk(ctx context.Context) map[*client.Call]*phone {
	talks := map[*client.Call]*phone{}
	for i := 0; i < 4; i += 2 {
		caller, callee := c.phones[i], c.phones[i+1]
		cctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		call, err := caller.call(cctx, callee.number)
		cancel()
		if err != nil {
			c.t.Errorf("a call between faults: %v", err)
			continue
		}
		talks[call] = callee
	}
	return talks
}

// hangUp ends the calls, which must still be there, and waits until the other
// side knows.
func (c *chaos) hangUp(ctx context.Context, f fault, talks map[*client.Call]*phone) {
	for call, callee := range talks {
		if !callee.inCall(call.ID) {
			c.ledger.mu.Lock()
			c.t.Errorf("%s: a call did not survive it; the callee: %s", f.name, c.ledger.rung[call.ID])
			c.ledger.mu.Unlock()
			continue
		}
		hctx, cancel := context.WithTimeout(ctx, c.patience)
		err := call.Hangup(hctx, "")
		for err == nil && callee.inCall(call.ID) && pause(hctx, 20*time.Millisecond) {
		}
		if err == nil {
			err = hctx.Err()
		}
		cancel()
		if err != nil {
			c.t.Errorf("%s: a call was not hung up after it: %v", f.name, err)
		}
	}
}

// whereDevicesAre asks every node for its sessions: each device has one, and
// the directory leads there.
func (c *chaos) whereDevicesAre(ctx context.Context, f fault) {
	var problem string
	deadline := time.Now().Add(c.patience)
	for time.Now().Before(deadline) {
		if problem = c.misplaced(ctx); problem == "" {
			return
		}
		pause(ctx, 200*time.Millisecond)
	}
	c.t.Errorf("%s: %s", f.name, problem)
}

func (c *chaos) misplaced(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at := map[string][]string{} // account and device to nodes
	var some *admin.Client
	for _, n := range c.fleet.Nodes {
		api, err := operator(n)
		if err != nil {
			return err.Error()
		}
		page, err := api.NodeSessions(ctx, "self", "", 500)
		if err != nil {
			return fmt.Sprintf("%s does not tell its sessions: %v", n.Name, err)
		}
		for _, s := range page.Sessions {
			key := fmt.Sprintf("%s.%d", s.Account, s.Device)
			at[key] = append(at[key], s.Node)
		}
		some = api
	}
	if len(at) != len(c.phones) {
		return fmt.Sprintf("%d devices are on some node, want %d", len(at), len(c.phones))
	}
	for _, p := range c.phones {
		a, err := some.Lookup(ctx, p.number, "")
		if err != nil {
			return fmt.Sprintf("a number is not found: %v", err)
		}
		for _, d := range a.Devices {
			nodes := at[fmt.Sprintf("%s.%d", a.Account, d.Device)]
			if len(nodes) != 1 || d.Session == nil || d.Session.Node != nodes[0] {
				return fmt.Sprintf("a device is on %d nodes; the directory leads to the right one: %v", len(nodes), d.Session != nil && slices.Contains(nodes, d.Session.Node))
			}
		}
	}
	return ""
}

// fresh keeps no connection to a node that may be gone.
var fresh = &http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func operator(n *fleet.Node) (*admin.Client, error) {
	token, err := os.ReadFile(n.AdminToken)
	if err != nil {
		return nil, err
	}
	return &admin.Client{URL: "http://" + n.Admin, Token: strings.TrimSpace(string(token)), HTTP: fresh}, nil
}

// finish stops the usage and checks the promises: what was acknowledged came to
// every device, once, in order, and nothing else did; calls are over on both sides; the
// directory has each device once; and when all have gone, nothing is left.
func (c *chaos) finish() {
	t := c.t
	c.stop()
	c.use.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for deadline := time.Now().Add(30 * time.Second); (c.ledger.texts.Owed() > 0 || c.hanging() > 0) && time.Now().Before(deadline); {
		pause(ctx, 50*time.Millisecond)
	}
	texts, hanging := c.ledger.texts.Check(), c.hanging()
	for _, b := range texts.Breaches {
		t.Error(&b)
	}
	if hanging > 0 {
		t.Errorf("%d calls were hung up and go on at the callee's", hanging)
	}
	bad, failed := c.calls.inexcusable()
	for _, err := range bad {
		t.Errorf("a call while all was well: %v", err)
	}
	if err := c.settledRecords(ctx); err != nil {
		t.Errorf("what lies in NATS: %v", err)
	}
	for _, p := range c.phones {
		p.close()
	}
	if err := c.leftovers(ctx); err != nil {
		t.Error(err)
	}
	c.verdict(texts, failed, hanging)
}

func (c *chaos) verdict(texts *ledger.Report, failed, hanging int) {
	c.ledger.mu.Lock()
	defer c.ledger.mu.Unlock()
	times := map[string]int{}
	for _, f := range c.ledger.faults {
		times[f]++
	}
	for f, n := range times {
		c.t.Errorf("%d times: %s", n, f)
	}
	c.say("checked  texts, each on every device of its receiver and the sender's other: %v", texts)
	c.say("checked  calls: %d answered, the slowest after %v; %d failed while something was broken; %d go on by mistake", c.calls.answered, c.calls.worst.Round(10*time.Millisecond), failed, hanging)
	c.say("checked  after each fault: every device on one node, where the directory says; calls that had begun before it still there")
	c.say("checked  at the end: one record for each device in PRES, one lease for each node in NODES; no goroutine left for anybody who has gone; no number and no text in any log")
	for _, f := range c.calls.failed {
		var e *callError
		errors.As(f.why, &e)
		c.say("a call that was begun at %s failed after %v: %v; the callee: %s", f.from.Format(time.TimeOnly), f.to.Sub(f.from).Round(10*time.Millisecond), f.why, cmp.Or(c.ledger.rung[e.id], "not rung"))
	}
	if c.t.Failed() {
		c.say("FAILED: what is wrong stands below")
	}
}

// private looks for what must not be in logs.
func (c *chaos) private() {
	text := c.log.String()
	for _, p := range c.phones {
		if strings.Contains(text, p.number) {
			c.t.Errorf("a number is in the log")
		}
	}
	for _, secret := range []string{"v=0 offer", "v=0 answer", secretWord} {
		if strings.Contains(text, secret) {
			c.t.Errorf("%q is in the log", secret)
		}
	}
}

// tail is the end of a log, without what is always said.
func tail(log string) string {
	const most = 12 << 10
	var b strings.Builder
	for line := range strings.Lines(log) {
		if !strings.Contains(line, "[INF]") && !strings.Contains(line, "level=INFO") && !strings.Contains(line, "Healthcheck failed") {
			b.WriteString(line)
		}
	}
	return b.String()[max(0, b.Len()-most):]
}
