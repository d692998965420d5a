package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"switchboard/directory"
	"switchboard/signaling/push"
)

// openPushes returns the queue of pushes, nil where none can leave.
func (n *node) openPushes(ctx context.Context, d *stores, s secrets) (*push.Queue, error) {
	c := n.config.Push
	if !c.On() {
		return nil, nil
	}
	c.Replicas = d.nats.Replicas()
	deps := push.Deps{JetStream: d.nats.JetStream(), Log: n.log, Gone: func(ctx context.Context, dev push.Device, t push.Target) {
		if err := dropPush(ctx, d.directory, dev, t); err != nil {
			n.log.Warn("push target that leads nowhere not removed", "error", err)
		}
	}}
	var err error
	if deps.VAPID, err = push.VAPIDFrom(s.master.Key(forPushes)); err != nil {
		return nil, err
	}
	if c.Webhook.URL != "" {
		if deps.WebhookSecret, err = os.ReadFile(c.Webhook.SecretFile); err != nil {
			return nil, fmt.Errorf("push.webhook.secret_file: %w", err)
		}
	}
	var q *push.Queue
	if err := d.nats.Prepare(ctx, func() (err error) { q, err = push.Open(ctx, c, deps); return err }); err != nil {
		return nil, fmt.Errorf("pushes: %w", err)
	}
	n.metrics.MustRegister(q)
	n.parts = append(n.parts, part{name: "pushes", run: q.Run})
	return q, nil
}

func dropPush(ctx context.Context, d *directory.Directory, dev push.Device, t push.Target) error {
	data, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return d.DropPush(ctx, directory.Account(dev.Account), directory.Device(dev.Device), data)
}

// pushes are what operators are told of them.
type pushes struct {
	*push.Queue
	directory *directory.Directory
}

// Wake implements [admin.Pushes].
func (p pushes) Wake(ctx context.Context, dev push.Device, w push.Wake) (bool, error) {
	d, err := p.directory.DeviceOf(ctx, directory.Account(dev.Account), directory.Device(dev.Device))
	if err != nil || d.Push == nil {
		return false, err
	}
	var t push.Target
	if err := json.Unmarshal(d.Push, &t); err != nil {
		return false, err
	}
	return p.Takes(t.Kind), p.Put(ctx, dev, t, w)
}
