package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// witness is what a node puts among the bindings under the key of its lease, as
// long as it holds that: if it is not there any more, neither are the node's
// bindings. NATS has lost what it had in memory, and the node, which goes on to
// renew its lease, would never hear of it.
type witness struct {
	V    int    `json:"v"`
	Node string `json:"node"` // incarnation
}

func (d *Directory) putWitness(ctx context.Context, incarnation string) error {
	data, err := json.Marshal(witness{V: recordVersion, Node: incarnation})
	if err != nil {
		return err
	}
	_, err = d.presence.swap(ctx, leaseKey(incarnation), data, 0, 0)
	return err
}

// checkWitness returns ErrLeaseLost if the node's bindings are lost. That they
// cannot be asked for is no reason to think so.
func (d *Directory) checkWitness(ctx context.Context, incarnation string) error {
	_, err := d.presence.getLeader(ctx, leaseKey(incarnation))
	var ae *jetstream.APIError
	if errors.Is(err, ErrNotFound) || errors.As(err, &ae) && ae.ErrorCode == jetstream.JSErrCodeStreamNotFound {
		return fmt.Errorf("%w: its bindings have gone from NATS", ErrLeaseLost)
	}
	return nil
}

// orLost is err, or ErrLeaseLost if a bucket in memory has gone as a whole: then
// there is no use in waiting for the lease's end.
func (d *Directory) orLost(ctx context.Context, err error) error {
	if !errors.Is(err, jetstream.ErrNoStreamResponse) {
		return err
	}
	for _, name := range []string{bucketNodes, bucketPresence} {
		if _, gone := d.js.Stream(ctx, "KV_"+name); errors.Is(gone, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%w: its record has gone from NATS", ErrLeaseLost)
		}
	}
	return err
}
