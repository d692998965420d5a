package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"switchboard/cmd/switchboard/internal/migrate"
	"switchboard/directory"
	"switchboard/directory/directorytest"
	"switchboard/directory/natsnode"
	"switchboard/directory/natsnode/loopback"
	"switchboard/signaling/callstore"
	"switchboard/signaling/cdr"
	"switchboard/signaling/cdr/cdrtest"
	"switchboard/signaling/mailbox"
	"switchboard/signaling/push"
	"switchboard/signaling/push/pushtest"
)

// TestMain lets servers in this process take their time to tell others that a
// mirror is none any more.
func TestMain(m *testing.M) {
	const stream = "github.com/nats-io/nats-server/v2/server.(*stream)."
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction(stream+"tryDeleteSourcingConsumer"),
		goleak.IgnoreAnyFunction(stream+"tryDeleteSourcingConsumer.func1"), goleak.IgnoreAnyFunction(stream+"setupMirrorConsumer.func3"))
}

// cluster is three servers on loopback that take leaf nodes.
type cluster struct {
	url, leaf string
}

func startCluster(t *testing.T) cluster {
	t.Helper()
	ports := freePorts(t, 6)
	var routes []string
	for _, p := range ports[:3] {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	dir := t.TempDir()
	var servers []*server.Server
	for i := range 3 {
		name := fmt.Sprint("s", i)
		s, err := server.NewServer(&server.Options{
			ServerName: name, StoreDir: filepath.Join(dir, name), JetStream: true, SyncAlways: true, NoSigs: true, NoLog: true,
			Host: "127.0.0.1", Port: server.RANDOM_PORT, Routes: server.RoutesFromStr(strings.Join(routes, ",")),
			Cluster:  server.ClusterOpts{Name: "hub", Host: "127.0.0.1", Port: ports[i]},
			LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: ports[3+i]},
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		servers = append(servers, s)
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	}
	for _, s := range servers {
		for deadline := time.Now().Add(time.Minute); !s.JetStreamIsCurrent(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no cluster in a minute")
			}
		}
	}
	return cluster{servers[0].ClientURL(), fmt.Sprintf("nats://127.0.0.1:%d", ports[3])}
}

func freePorts(t testing.TB, n int) []int {
	t.Helper()
	ports, err := loopback.Ports(n)
	if err != nil {
		t.Fatal(err)
	}
	return ports
}

func (c cluster) connect(t *testing.T) *natsnode.Node {
	t.Helper()
	conf := natsnode.Default()
	conf.URL = c.url
	n, err := natsnode.Open(t.Context(), conf, directorytest.Log())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close(context.Background()) })
	return n
}

// stores are what a node keeps its state in.
type stores struct {
	dir   *directory.Directory
	boxes *mailbox.Store
	calls *callstore.Store
}

func openStores(t *testing.T, n *natsnode.Node) stores {
	t.Helper()
	mc, cc := mailbox.Default(), callstore.Default()
	mc.Replicas, cc.Replicas = n.Replicas(), n.Replicas()
	boxes, err := mailbox.Open(t.Context(), n.JetStream(), mc)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := callstore.Open(t.Context(), n.JetStream(), cc)
	if err != nil {
		t.Fatal(err)
	}
	return stores{directorytest.OpenOnly(t, n, "n1", nil), boxes, calls}
}

const people, textsEach = 10, 20

// old is what an embedded server has when it is to be moved.
type old struct {
	dir      string
	accounts []directory.Account
	next     []uint64 // the number of the first text that waits, by account
	revision uint64   // of a record that was changed several times
	call     uint64   // revision of a call's record
	taken    uint64   // number of a text that is gone, the newest in its stream
}

func box(a directory.Account) mailbox.Box { return mailbox.Box{Account: string(a), Device: 1} }

// fill writes what the stores write: accounts, devices, mailboxes with holes, a
// call.
func fill(t *testing.T) old {
	t.Helper()
	o := old{dir: t.TempDir()}
	n := directorytest.NATSIn(t, o.dir)
	s := openStores(t, n)
	ctx := t.Context()
	for i := range people {
		rec, err := s.dir.Register(ctx, directorytest.Number(t, i))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.dir.AddDevice(ctx, rec.Account, "phone", ""); err != nil {
			t.Fatal(err)
		}
		o.accounts = append(o.accounts, rec.Account)
	}
	for j := range textsEach {
		for _, a := range o.accounts {
			if _, err := s.boxes.Put(ctx, mailbox.Entry{Box: box(a), ID: fmt.Sprintf("%s.%d", a, j), Data: []byte(fmt.Sprint("text ", j))}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, a := range o.accounts {
		items, _, err := s.boxes.Read(ctx, box(a), 0, textsEach)
		if err != nil {
			t.Fatal(err)
		}
		taken := i * 2 // so many were acknowledged
		if taken > 0 {
			if err := s.boxes.Ack(ctx, box(a), items[taken-1].Seq); err != nil {
				t.Fatal(err)
			}
		}
		o.next = append(o.next, items[taken].Seq)
	}
	// The newest text of all has been acknowledged: its number must not be given
	// again.
	last, err := s.boxes.Put(ctx, mailbox.Entry{Box: box(o.accounts[0]), ID: "taken", Data: []byte("taken")})
	if err != nil {
		t.Fatal(err)
	}
	o.taken = last[0]
	inbox := mailbox.Box{Account: string(o.accounts[0]), Device: 2}
	if last, err = s.boxes.Put(ctx, mailbox.Entry{Box: inbox, ID: "taken, too", Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	o.taken = last[0]
	if err := s.boxes.Drop(ctx, inbox); err != nil {
		t.Fatal(err)
	}
	for k := range 3 {
		_, err := s.dir.UpdateDevice(ctx, o.accounts[0], 1, func(r *directory.DeviceRecord) error {
			r.Name = fmt.Sprint("phone ", k)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	kv, err := n.JetStream().KeyValue(ctx, "DEVS")
	if err != nil {
		t.Fatal(err)
	}
	e, err := kv.Get(ctx, string(o.accounts[0])+".1")
	if err != nil {
		t.Fatal(err)
	}
	o.revision = e.Revision()
	if o.call, err = s.calls.Create(ctx, "c.call", []byte(`{"v":1}`), time.Hour); err != nil {
		t.Fatal(err)
	}
	fillPushes(t, n, o.accounts)
	fillCalls(t, n, o.accounts)
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
	return o
}

// pushesWait is for how many devices a push waits.
const pushesWait = 3

func openPushes(t *testing.T, n *natsnode.Node, s *pushtest.Service) *push.Queue {
	t.Helper()
	c := push.Default()
	c.Webhook.URL, c.Webhook.SecretFile, c.Replicas = s.URL, "x", n.Replicas()
	q, err := push.Open(t.Context(), c, push.Deps{JetStream: n.JetStream(), WebhookSecret: []byte("0123456789abcdef"), Log: directorytest.Log()})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// bringPushes works on a queue until all that waits is on its way, n of them.
func bringPushes(t *testing.T, q *push.Queue, s *pushtest.Service, n int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	for range n {
		s.Await()
	}
	s.None(100 * time.Millisecond)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// fillPushes leaves one push that could not be brought, and some that wait.
func fillPushes(t *testing.T, n *natsnode.Node, accounts []directory.Account) {
	t.Helper()
	s := pushtest.Start(t, http.StatusBadRequest)
	q := openPushes(t, n, s)
	put := func(a directory.Account) {
		err := q.Put(t.Context(), push.Device{Account: string(a), Device: 1}, push.Target{Kind: push.Webhook, Token: "t"}, push.Wake{Reason: push.Message})
		if err != nil {
			t.Fatal(err)
		}
	}
	put(accounts[0])
	bringPushes(t, q, s, 1)
	for _, a := range accounts[:pushesWait] {
		put(a)
	}
}

func checkPushes(t *testing.T, n *natsnode.Node) {
	t.Helper()
	s := pushtest.Start(t, http.StatusOK)
	q := openPushes(t, n, s)
	if dead, err := q.Dead(t.Context(), "", 0, 10); err != nil || len(dead) != 1 || dead[0].Why == "" {
		t.Errorf("pushes that could not be brought: %v, %v", dead, err)
	}
	bringPushes(t, q, s, pushesWait)
}

func openCalls(t *testing.T, n *natsnode.Node) *cdr.Store {
	t.Helper()
	c := cdr.Default()
	c.Replicas = n.Replicas()
	s, err := cdr.Open(t.Context(), c, n.JetStream())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// over is the record of the last of a few calls from the first account to the second.
func over(accounts []directory.Account) cdr.Record {
	r := cdrtest.Call("last")
	r.Caller.Account, r.Callee.Account = string(accounts[0]), string(accounts[1])
	r.Created, r.Ended = time.UnixMilli(1).UTC(), time.UnixMilli(2).UTC()
	return r
}

// fillCalls has a few calls written down.
func fillCalls(t *testing.T, n *natsnode.Node, accounts []directory.Account) {
	t.Helper()
	s := openCalls(t, n)
	for _, id := range []string{"first", "second", "last"} {
		r := over(accounts)
		r.Call = id
		if err := s.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

// checkCalls finds them, and adds one that it finds, too.
func checkCalls(t *testing.T, n *natsnode.Node, accounts []directory.Account) {
	t.Helper()
	s := openCalls(t, n)
	want := over(accounts)
	for _, q := range []cdr.Query{{Limit: 10}, {Limit: 10, Account: string(accounts[1])}} {
		p, err := s.List(t.Context(), q)
		if err != nil || len(p.Records) != 3 || p.Next != 0 || !p.Records[0].Ended.Equal(want.Ended) || p.Records[0].Call != want.Call {
			t.Errorf("calls: %+v, %v", p, err)
		}
	}
	want.Call = "new"
	if err := s.Write(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) { // any replica answers
		p, err := s.List(t.Context(), cdr.Query{Limit: 1, Call: "new"})
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Records) == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("a new call is not found")
		}
	}
}

func move(t *testing.T, o old, c cluster, to *natsnode.Node) *migrate.Move {
	return &migrate.Move{
		Dir: o.dir, To: to, Where: "nats://cluster", Say: t.Logf,
		Leaf: func(ctx context.Context) (*natsnode.Node, error) {
			return natsnode.OpenLeaf(ctx, natsnode.LeafConfig{Dir: o.dir, URL: c.leaf}, directorytest.Log())
		},
	}
}

// check opens the stores in the cluster and compares with what was.
func check(t *testing.T, o old, n *natsnode.Node) {
	t.Helper()
	s := openStores(t, n)
	ctx := t.Context()
	for i, a := range o.accounts {
		found, err := s.dir.Resolve(ctx, directorytest.Number(t, i))
		if err != nil || found != a {
			t.Errorf("number %d leads to %q, %v; want %q", i, found, err, a)
		}
		if d, err := s.dir.DeviceOf(ctx, a, 1); err != nil || i == 0 && d.Name != "phone 2" {
			t.Errorf("device of %d: %+v, %v", i, d, err)
		}
		items, _, err := s.boxes.Read(ctx, box(a), 0, 2*textsEach)
		if i == 0 && len(items) > 0 {
			items = items[:len(items)-1] // the one that was added last
		}
		if err != nil || len(items) != textsEach-2*i || items[0].Seq != o.next[i] {
			t.Fatalf("mailbox %d: %d items from %d, %v; want %d from %d", i, len(items), items[0].Seq, err, textsEach-2*i, o.next[i])
		}
		for k, it := range items {
			if want := fmt.Sprint("text ", k+2*i); string(it.Data) != want {
				t.Errorf("mailbox %d holds %q, want %q", i, it.Data, want)
			}
		}
	}
	kv, err := n.JetStream().KeyValue(ctx, "DEVS")
	if err != nil {
		t.Fatal(err)
	}
	key := string(o.accounts[0]) + ".1"
	e, err := kv.Get(ctx, key)
	if err != nil || e.Revision() != o.revision {
		t.Fatalf("revision %d, %v; want %d", e.Revision(), err, o.revision)
	}
	if _, err := kv.Update(ctx, key, e.Value(), o.revision-1); err == nil {
		t.Error("a change on top of an older revision went through")
	}
	if _, err := kv.Update(ctx, key, e.Value(), o.revision); err != nil {
		t.Errorf("a change on top of the revision before the move: %v", err)
	}
	if _, err := s.calls.Save(ctx, "c.call", []byte(`{"v":1,"more":1}`), o.call, time.Hour); err != nil {
		t.Errorf("a call goes on: %v", err)
	}
	fresh, err := s.boxes.Put(ctx, mailbox.Entry{Box: box(o.accounts[0]), ID: "new", Data: []byte("new")})
	if err != nil || fresh[0] <= o.taken {
		t.Errorf("a new text has number %v, %v; %d had been given", fresh, err, o.taken)
	}
	if _, err := s.dir.Register(ctx, directorytest.Number(t, people)); err != nil {
		t.Errorf("a new account: %v", err)
	}
	checkPushes(t, n)
	checkCalls(t, n, o.accounts)
	list := n.JetStream().ListStreams(ctx)
	for info := range list.Info() {
		if info.Config.Replicas != 3 || info.Config.Mirror != nil {
			t.Errorf("%s: %d replicas, mirror %v", info.Config.Name, info.Config.Replicas, info.Config.Mirror)
		}
	}
}

func TestMigrate(t *testing.T) {
	if testing.Short() {
		t.Skip("electing takes seconds")
	}
	o, c := fill(t), startCluster(t)
	to := c.connect(t)
	m := move(t, o, c, to)
	m.DryRun = true
	if err := m.Run(t.Context()); err != nil {
		t.Fatalf("dry run: %v", err)
	}
	if natsnode.Moved(o.dir) {
		t.Error("a dry run has marked the files")
	}
	m.DryRun = false
	if err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, o, to)
	conf := natsnode.Default()
	conf.Dir = o.dir
	if _, err := natsnode.Open(t.Context(), conf, directorytest.Log()); !errors.Is(err, natsnode.ErrMoved) {
		t.Errorf("a node on the old files: %v", err)
	}
	if err := move(t, o, c, to).Run(t.Context()); err != nil {
		t.Errorf("once more: %v", err)
	}
}

// What is interrupted goes on where it was.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("electing takes seconds")
	}
	o, c := fill(t), startCluster(t)
	to := c.connect(t)
	for step, stop := range []string{"messages", "copied", "is in the cluster", "is in the cluster"} {
		ctx, cancel := context.WithCancel(t.Context())
		m, times := move(t, o, c, to), 0
		m.Say = func(format string, args ...any) {
			if strings.Contains(format, stop) {
				if times++; times > step {
					cancel()
				}
			}
		}
		if err := m.Run(ctx); err == nil {
			t.Fatalf("step %d was not interrupted", step)
		}
		cancel()
	}
	if err := move(t, o, c, to).Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t, o, to)
}

func TestRefuses(t *testing.T) {
	if testing.Short() {
		t.Skip("electing takes seconds")
	}
	o, c := fill(t), startCluster(t)
	to := c.connect(t)
	t.Run("a node runs on the files", func(t *testing.T) {
		directorytest.NATSIn(t, o.dir)
		if err := move(t, o, c, to).Run(t.Context()); !errors.Is(err, natsnode.ErrInUse) {
			t.Errorf("%v", err)
		}
	})
	t.Run("no data", func(t *testing.T) {
		empty := old{dir: t.TempDir()}
		if err := move(t, empty, c, to).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no data") {
			t.Errorf("%v", err)
		}
	})
	t.Run("no leaf listener", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		nobody := cluster{c.url, "nats://127.0.0.1:1"}
		if err := move(t, o, nobody, to).Run(ctx); err == nil || !strings.Contains(err.Error(), "leafnodes") {
			t.Errorf("%v", err)
		}
	})
	t.Run("the cluster is in use", func(t *testing.T) {
		if _, err := to.JetStream().CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ACCT"}); err != nil {
			t.Fatal(err)
		}
		if err := move(t, o, c, to).Run(t.Context()); !errors.Is(err, migrate.ErrInUse) {
			t.Errorf("%v", err)
		}
	})
}
