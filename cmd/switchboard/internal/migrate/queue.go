package migrate

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"switchboard/directory/natsnode"
)

// A queue cannot be mirrored, and need not be: nobody knows the numbers of its
// messages, which are gone once they are done. What waits in it is put into a queue
// of the cluster.

func isQueue(c jetstream.StreamConfig) bool { return c.Retention == jetstream.WorkQueuePolicy }

// begin makes an empty queue.
func (m *Move) begin(ctx context.Context, _ *natsnode.Node, info *jetstream.StreamInfo) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c := info.Config
	c.Replicas = m.To.Replicas()
	c.Metadata = withState(c.Metadata, copying, origin(info))
	if _, err := m.To.JetStream().CreateStream(ctx, c); err != nil {
		return fmt.Errorf("copy %s: %w", c.Name, m.To.Explain(err))
	}
	return nil
}

// carry copies what waits in a queue. It may be repeated: of each subject the queue
// keeps the last message alone.
func (m *Move) carry(ctx context.Context, leaf *natsnode.Node, name string) error {
	from, err := leaf.JetStream().Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("look at %s: %w", name, err)
	}
	carried, last := 0, from.CachedInfo().State.LastSeq
	for seq := uint64(1); seq <= last; carried++ {
		msg, err := from.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		seq = msg.Sequence + 1
		again := &nats.Msg{Subject: msg.Subject, Data: msg.Data, Header: nats.Header{}}
		if life := msg.Header.Get(jetstream.MsgTTLHeader); life != "" {
			again.Header.Set(jetstream.MsgTTLHeader, life)
		}
		if _, err := m.To.JetStream().PublishMsg(ctx, again); err != nil {
			return fmt.Errorf("copy %s: %w", name, m.To.Explain(err))
		}
	}
	m.Say("%-12s copied: %d messages", name, carried)
	return nil
}
