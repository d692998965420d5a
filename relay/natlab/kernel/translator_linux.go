package kernel

import (
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"switchboard/relay/natlab/nat"
)

// translator is the user-space router of one NAT. The kernel hands it, on one TUN device each,
// what comes from inside and what comes for the external address, and routes what it writes
// back. It has a goroutine for each.
type translator struct {
	// Static after newTranslator.
	inner, outer *os.File
	running      sync.WaitGroup

	// mu guards the rest.
	mu    sync.Mutex
	table *nat.Table
	drops map[string]uint64 // by reason
}

// newTranslator makes the devices in the calling thread's namespace.
func newTranslator(n nat.NAT, external netip.Addr, rnd *rand.Rand) (*translator, error) {
	t := &translator{table: nat.New(n, external, rnd), drops: make(map[string]uint64)}
	var err error
	if t.inner, err = openTUN(tunInner, unix.IFF_TUN); err != nil {
		return nil, err
	}
	if t.outer, err = openTUN(tunOuter, unix.IFF_TUN); err != nil {
		t.inner.Close()
		return nil, err
	}
	return t, nil
}

func (t *translator) start() {
	t.running.Go(func() { t.read(t.inner, t.outbound) })
	t.running.Go(func() { t.read(t.outer, t.inbound) })
}

// close takes the devices away and waits for the goroutines.
func (t *translator) close() {
	t.inner.Close()
	t.outer.Close()
	t.running.Wait()
}

// read has each packet of a device translated, until that is closed.
func (t *translator) read(from *os.File, handle func([]byte) (*os.File, []byte)) {
	b := make([]byte, 1<<16)
	var parts fragments
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		whole := parts.add(b[:n])
		if whole == nil {
			continue
		}
		// A device that is full or down loses what is written, as a network does.
		if to, out := handle(whole); to != nil {
			to.Write(out)
		}
	}
}

// outbound is for a packet from inside. The file is nil if the packet ends here.
func (t *translator) outbound(b []byte) (*os.File, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := parse(b)
	switch {
	case err != nil:
		return t.drop(err.Error())
	case p.proto == icmp4 && errorOut(t.table, time.Now(), p):
		return t.outer, p.b
	case p.proto != nat.UDP && p.proto != nat.TCP:
		return t.drop(nat.Untranslated.String())
	}
	got, v := t.table.Outbound(time.Now(), p.header())
	switch {
	case v.Dropped():
		return t.drop(v.String())
	case v == nat.Hairpin:
		return t.inner, p.rewrite(got.Src, got.Dst).b
	}
	return t.outer, p.rewrite(got.Src, got.Dst).b
}

// inbound is for a packet to the external address.
func (t *translator) inbound(b []byte) (*os.File, []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := parse(b)
	switch {
	case err != nil:
		return t.drop(err.Error())
	case p.proto == icmp4 && errorIn(t.table, time.Now(), p):
		return t.inner, p.b
	case p.proto != nat.UDP && p.proto != nat.TCP:
		return t.drop(nat.Untranslated.String())
	}
	got, v := t.table.Inbound(time.Now(), p.header())
	if v.Dropped() {
		return t.drop(v.String())
	}
	return t.inner, p.rewrite(got.Src, got.Dst).b
}

func (t *translator) drop(why string) (*os.File, []byte) {
	t.drops[why]++
	return nil, nil
}

func (t *translator) reboot() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.table.Reset()
}

func (t *translator) dropped() map[string]uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.drops)
}
