package main

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// check sends one packet through each flow, and wants it to come as it should. What is
// lost on the way is sent again.
func (b *bench) check(flows []*flow, d direction, size int) error {
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
		l := newLoad(some, 1)
		for sent := 0; sent < len(some); {
			n, err := b.generator.send(l, min(16, len(some)-sent))
			if err != nil {
				return err
			}
			sent += n
			time.Sleep(time.Millisecond)
		}
		var still []int
		for _, m := range missing {
			ok, err := flows[m].came(d, payload(m, size))
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

// came reports whether a payload has come to the end of a flow. It is an error when
// something else has.
func (f *flow) came(d direction, want []byte) (bool, error) {
	conn, from := f.peer, f.relayed
	if d == down {
		conn, from, want = f.client, f.server, channelData(want)
	}
	b := make([]byte, 4096)
	conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	n, sender, err := conn.ReadFromUDPAddrPort(b)
	if err != nil {
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			return false, nil
		}
		return false, err
	}
	if got := sender.Addr().Unmap(); got != from.Addr() || sender.Port() != from.Port() {
		return false, fmt.Errorf("a packet came from %v, not %v", sender, from)
	}
	// What is padded to a multiple of 4 is as good (RFC 8656 section 12.5).
	if n < len(want) || n > (len(want)+3)/4*4 || string(b[:len(want)]) != string(want) {
		return false, fmt.Errorf("%d bytes came that are not the %d that were sent", n, len(want))
	}
	return true, nil
}
