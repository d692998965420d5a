package offload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// Flow is a channel that is relayed in the kernel. End, EndDown and Media may be called
// from any goroutine until the [Path] is closed; after Remove they do nothing.
type Flow struct {
	// Static after Install.
	ends Ends
	path *Path
	way  uint32 // up; the next one is down
	keys [perFlow]programKey

	removed atomic.Bool
}

// Install adds a flow, whose time is yet to be set, with its meters up and down.
func (p *Path) Install(e Ends, m [2]Meters) (*Flow, error) {
	routes, err := p.routesOf(e)
	if err != nil {
		return nil, err
	}
	return p.install(e, m, routes)
}

func (p *Path) install(e Ends, m [2]Meters, routes [perFlow]route) (*Flow, error) {
	p.sweep()
	f := &Flow{ends: e, path: p}
	if !p.takeWay(f) {
		return nil, ErrFull
	}
	for i := range perFlow {
		w := &p.ways[int(f.way)+i]
		w.Own, w.User = m[i].Own.number(), m[i].User.number()
		w.route(routes[i])
	}
	var targets [perFlow]programTarget
	f.keys, targets = e.entries(f.way)
	for i, key := range f.keys {
		if old := p.installed[key]; old != nil { // of an allocation that has ended, and is about to be removed
			p.Remove(old)
		}
		if err := p.flows.Put(key, targets[i]); err != nil {
			f.keys[i] = programKey{} // it is not there
			p.Remove(f)
			if errors.Is(err, unix.E2BIG) {
				return nil, ErrFull
			}
			return nil, fmt.Errorf("offload: %w", err)
		}
		p.installed[key] = f
	}
	return f, nil
}

// takeWay gives a flow a place for what it carries, which is nothing yet.
func (p *Path) takeWay(f *Flow) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.freeWays) == 0 {
		return false
	}
	f.way = p.freeWays[len(p.freeWays)-1]
	p.freeWays = p.freeWays[:len(p.freeWays)-1]
	p.ways[f.way+up], p.ways[f.way+down] = programWay{}, programWay{}
	p.used[f.way] = struct{}{}
	return true
}

func (m *Meter) number() uint32 {
	if m == nil {
		return 0
	}
	return m.index
}

// route sets what a way out is.
func (w *programWay) route(r route) {
	atomic.StoreUint32(&w.Mtu, uint32(r.mtu))
	atomic.StoreUint32(&w.Interface, uint32(r.link))
}

// Remove removes a flow. It has ended then. It does nothing when it is removed already.
func (p *Path) Remove(f *Flow) {
	f.End()
	if f.removed.Swap(true) {
		return
	}
	for _, key := range f.keys {
		if p.installed[key] != f {
			continue // another one's, or it is not there
		}
		delete(p.installed, key)
		if err := p.flows.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			p.log.Warn("a flow is not removed from the kernel, where it has ended", "error", err)
		}
	}
	p.resting = append(p.resting, resting{since: time.Now(), way: f.way})
}

// Extend has the flow last until a time. A flow that must not be heard by the client ends
// that way, as by EndDown.
func (f *Flow) Extend(until int64, heard bool) {
	if f.removed.Load() {
		return
	}
	atomic.StoreUint64(&f.path.ways[f.way+up].Until, uint64(until))
	if !heard {
		until = 0
	}
	atomic.StoreUint64(&f.path.ways[f.way+down].Until, uint64(until))
}

// End ends a flow at once: no packet that comes later is relayed.
func (f *Flow) End() { f.Extend(0, false) }

// EndDown ends what goes to the client.
func (f *Flow) EndDown() {
	if !f.removed.Load() {
		atomic.StoreUint64(&f.path.ways[f.way+down].Until, 0)
	}
}

// Media is when the flow last carried a packet that is not STUN, or 0.
func (f *Flow) Media() int64 {
	if f.removed.Load() {
		return 0
	}
	return int64(max(atomic.LoadUint64(&f.path.ways[f.way+up].Media), atomic.LoadUint64(&f.path.ways[f.way+down].Media)))
}

// Len is how many flows there are.
func (p *Path) Len() int { return len(p.installed) / perFlow }

// Entries is how many entries the kernel has: two for each flow.
func (p *Path) Entries() (n int, err error) {
	var key programKey
	var target programTarget
	all := p.flows.Iterate()
	for all.Next(&key, &target) {
		n++
	}
	if err := all.Err(); err != nil {
		return 0, fmt.Errorf("offload: flows are not read: %w", err)
	}
	return n, nil
}

// Reroute looks up the ways out of a flow again. When there are none that the kernel can
// take, it says why.
func (p *Path) Reroute(f *Flow) error {
	routes, err := p.routesOf(f.ends)
	if err != nil {
		return err
	}
	for i := range perFlow {
		p.ways[int(f.way)+i].route(routes[i])
	}
	return nil
}

// Reconcile compares the kernel's flows with those that were installed, puts right what
// differs, and returns how many entries did.
func (p *Path) Reconcile() (differences int, err error) {
	missing := make(map[programKey]*Flow, len(p.installed))
	for key, f := range p.installed {
		missing[key] = f
	}
	var strange []programKey
	var key programKey
	var target programTarget
	all := p.flows.Iterate()
	for all.Next(&key, &target) {
		f := p.installed[key]
		if f == nil || target != f.target(key) {
			strange = append(strange, key)
			continue
		}
		delete(missing, key)
	}
	if err := all.Err(); err != nil {
		return 0, fmt.Errorf("offload: flows are not read: %w", err)
	}
	for _, key := range strange {
		if p.installed[key] == nil {
			differences++
			err = errors.Join(err, p.flows.Delete(key))
		}
	}
	for key, f := range missing {
		differences++
		err = errors.Join(err, p.flows.Put(key, f.target(key)))
	}
	return differences, err
}

func (f *Flow) target(of programKey) programTarget {
	keys, targets := f.ends.entries(f.way)
	if of == keys[down] {
		return targets[down]
	}
	return targets[up]
}

// entries are what the kernel is told of a flow: packets up and down.
func (e Ends) entries(way uint32) (keys [perFlow]programKey, targets [perFlow]programTarget) {
	keys[up] = keyOf(e.Client, e.Listener, e.Channel)
	keys[down] = keyOf(e.Peer, e.Relay, 0)
	targets[up] = targetOf(keys[up], e.Relay, e.Peer, 0, way+up)
	targets[down] = targetOf(keys[down], e.Listener, e.Client, e.Channel, way+down)
	return keys, targets
}

func keyOf(from, to netip.AddrPort, channel uint16) programKey {
	k := programKey{
		Source: words(from.Addr()), Destination: words(to.Addr()), SourcePort: big(from.Port()), DestinationPort: big(to.Port()),
		Channel: big(channel), Protocol: big(unix.ETH_P_IPV6),
	}
	if from.Addr().Is4() {
		k.Protocol = big(unix.ETH_P_IP)
	}
	return k
}

func targetOf(k programKey, from, to netip.AddrPort, channel uint16, way uint32) programTarget {
	t := programTarget{
		Source: words(from.Addr()), Destination: words(to.Addr()), SourcePort: big(from.Port()), DestinationPort: big(to.Port()),
		Channel: big(channel), Way: way,
	}
	var fix sum
	for i := range t.Source {
		fix = fix.plus(t.Source[i]).plus(t.Destination[i]).minus(k.Source[i]).minus(k.Destination[i])
	}
	t.IpFix = uint16(fix)
	t.UdpFix = uint16(fix.plusHalf(from.Port()).plusHalf(to.Port()).plusHalf(^big(k.SourcePort)).plusHalf(^big(k.DestinationPort)))
	return t
}

// sum is one of the Internet checksum's (RFC 1071), of 16-bit numbers.
type sum uint32

func (s sum) plusHalf(n uint16) sum {
	s += sum(n)
	return s&0xffff + s>>16
}

// plus adds the halves of four bytes of the network.
func (s sum) plus(word uint32) sum {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], word)
	return s.plusHalf(binary.BigEndian.Uint16(b[:])).plusHalf(binary.BigEndian.Uint16(b[2:]))
}

// minus takes them out (RFC 1624).
func (s sum) minus(word uint32) sum { return s.plus(^word) }

// words are an address as the network has it, IPv4 mapped to IPv6.
func words(a netip.Addr) (w [4]uint32) {
	b := a.As16()
	for i := range w {
		w[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return w
}

// big turns a number into one in the order of the network, and back.
func big(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}
