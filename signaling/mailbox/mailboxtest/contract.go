package mailboxtest

import (
	"context"
	"testing"

	"switchboard/signaling/mailbox"
)

// Mailbox is what an implementation offers.
type Mailbox interface {
	Put(ctx context.Context, entries ...mailbox.Entry) ([]uint64, error)
	Read(ctx context.Context, b mailbox.Box, after uint64, limit int) ([]mailbox.Item, bool, error)
	Tail(ctx context.Context, b mailbox.Box) (uint64, error)
	Ack(ctx context.Context, b mailbox.Box, upto uint64) error
	Drop(ctx context.Context, b mailbox.Box) error
}

var (
	_ Mailbox = (*mailbox.Store)(nil)
	_ Mailbox = (*Fake)(nil)
)

// Run tests what every implementation promises. open returns empty mailboxes
// with the limits of c.
func Run(t *testing.T, open func(testing.TB, mailbox.Config) Mailbox) {
}
