package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/cmd/switchboard/internal/fleet"
)

// lapseWithin is more than the longest lease.
const lapseWithin = 40 * time.Second

// settledRecords waits until the records are as they must be: a node that lost
// its lease in the last fault has taken another, and the first one is there until
// its time is over.
func (c *chaos) settledRecords(ctx context.Context) (err error) {
	for deadline := time.Now().Add(lapseWithin); ; {
		err = c.records(ctx)
		if err == nil || time.Now().After(deadline) || !pause(ctx, 200*time.Millisecond) {
			return err
		}
	}
}

// records reads the buckets as they lie in NATS, past all of Switchboard's
// code: each device must have one record, of a node that has a lease, and each
// node one lease.
func (c *chaos) records(ctx context.Context) error {
	nc, err := nats.Connect(c.urls, nats.Timeout(5*time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	leases, err := bucket(ctx, js, "NODES")
	if err != nil {
		return err
	}
	bound, err := bucket(ctx, js, "PRES")
	if err != nil {
		return err
	}
	if len(leases) != len(c.fleet.Nodes) {
		return fmt.Errorf("%d leases of %d nodes", len(leases), len(c.fleet.Nodes))
	}
	live := 0
	for key, data := range bound {
		if strings.HasPrefix(key, "n.") {
			continue // a node's own, by which it notices that memory was lost
		}
		var b struct{ Node string }
		if err := json.Unmarshal(data, &b); err != nil {
			return err
		}
		if _, ok := leases["n."+b.Node]; ok {
			live++
		}
	}
	if live != len(c.phones) {
		return fmt.Errorf("%d devices are bound to living nodes, and there are %d; %d records in all", live, len(c.phones), len(bound))
	}
	return nil
}

// bucket returns what is in a bucket.
func bucket(ctx context.Context, js jetstream.JetStream, name string) (map[string][]byte, error) {
	kv, err := js.KeyValue(ctx, name)
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	all := map[string][]byte{}
	for {
		select {
		case e := <-w.Updates():
			if e == nil {
				return all, nil
			}
			all[e.Key()] = e.Value()
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// goroutines is how many a node has.
func goroutines(ctx context.Context, node *fleet.Node) (int, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+node.Ops+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := fresh.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var n int
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if _, err := fmt.Sscanf(lines.Text(), "go_goroutines %d", &n); err == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("%s does not tell its goroutines", node.Name)
}

// slack is how many goroutines a node may have more than before anybody was
// there: those of NATS and HTTP come and go.
const slack = 16

// leftovers waits until nodes that nobody is connected to any more are as they
// were at the beginning.
func (c *chaos) leftovers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, node := range c.fleet.Nodes {
		for {
			n, err := goroutines(ctx, node)
			if err == nil && n <= c.idle+slack {
				break
			}
			if !pause(ctx, 200*time.Millisecond) {
				return fmt.Errorf("%s has %d goroutines with nobody there, and had %d at first: %v", node.Name, n, c.idle, err)
			}
		}
	}
	return nil
}
