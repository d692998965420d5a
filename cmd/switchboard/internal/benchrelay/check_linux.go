package main

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// check sends a burst through each flow, and wants it to come as it should. Where all of
// one is lost on the way, it is sent again.
func (b *bench) check(flows []*flow, d direction, size, burst int) error {
	all := frames(flows, d, size)
	missing := make([]int, len(flows))
	for i := range missing {
		missing[i] = i
	}
	for range 5 {
		if len(missing) == 0 {
			return nil
		}
		some := make([][]byte, len(missing))
		for i, m := range missing {
			some[i] = all[m]
		}
		l := newLoad(some, burst)
		for sent := 0; sent < l.round; {
			n, err := b.generator.send(l, min(16, l.round-sent))
			if err != nil {
				return err
			}
			sent += n
			time.Sleep(time.Millisecond)
		}
		var still []int
		for _, m := range missing {
			ok, err := flows[m].came(d, flows[m].arrives(d, m, size), burst)
			if err != nil {
				return fmt.Errorf("flow %d: %w", m, err)
			}
			if !ok {
				still = append(still, m)
			}
		}
		missing = still
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d of %d flows deliver nothing; does a limit of the relay's hold them?", len(missing), len(flows))
	}
	return nil
}

// came reports whether a payload has come to the end of a flow, at least one of so many
// times. It is an error when something else has.
func (f *flow) came(d direction, want []byte, times int) (bool, error) {
	conn, from := f.peer, f.relayed
	if d == down {
		conn, from = f.client, f.server
	}
	b := make([]byte, 4096)
	for i := range times {
		conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		n, sender, err := conn.ReadFromUDPAddrPort(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return i > 0, nil
		}
		if err != nil {
			return false, err
		}
		if got := sender.Addr().Unmap(); got != from.Addr() || sender.Port() != from.Port() {
			return false, fmt.Errorf("a packet came from %v, not %v", sender, from)
		}
		// What is padded to a multiple of 4 is as good (RFC 8656 section 12.5).
		if n < len(want) || n > (len(want)+3)/4*4 || string(b[:len(want)]) != string(want) {
			return false, fmt.Errorf("%d bytes came that are not the %d that were sent", n, len(want))
		}
	}
	return true, nil
}
