package kernel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"switchboard/relay/internal/offload"
)

// triesRelaying has the kernel take the relay's program, which is then tried with packets,
// and attached where packets come in from a veth: what a relay on a host of a lab does.
func triesRelaying(ctx context.Context, s *space) error {
	const dev = "relay"
	at := netip.MustParseAddr("198.18.0.1")
	if err := s.ip(ctx, batch{
		"link add name " + dev + " type veth peer name far",
		fmt.Sprintf("addr add %v/24 dev %s", at, dev),
		"link set dev far up", "link set dev " + dev + " up",
	}); err != nil {
		return err
	}
	return s.Visit(func() error {
		began := time.Now()
		p, err := offload.Open(offload.Config{
			ListenPort: 3478, Flows: 64, Log: slog.New(slog.DiscardHandler),
			Clock: func() int64 { return int64(time.Since(began)) },
		})
		if err != nil {
			return err
		}
		names, err := p.Cover(func(a netip.Addr) bool { return a == at })
		if err == nil && len(names) != 1 {
			err = fmt.Errorf("it is attached to %v, not to %s", names, dev)
		}
		return errors.Join(err, p.Close())
	})
}
