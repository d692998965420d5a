package offload

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Of version 2 of the instructions, as from 3 on the compiler puts registers of 32 bits on
// the stack by halves of a word (see word in relay.bpf.c).
//
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -output-dir=$BPF_OUTPUT -go-package offload -tags linux -target bpfel,bpfeb -type key -type target -type way -type meter program relay.bpf.c -- -O2 -Wall -Werror -mcpu=v2 -nostdlibinc --no-default-config

// Path is the program and what it knows. Flows are installed, renewed and removed by one
// goroutine at a time; what is said otherwise may be called from any.
type Path struct {
	// Static after Open.
	log     *slog.Logger
	clock   func() int64
	classic bool
	port    uint16
	program *ebpf.Program
	flows   *ebpf.Map
	counts  *ebpf.Map
	memory  [][]byte // shared with the kernel
	ways    []programWay
	meters  []programMeter
	routes  *netlink.Handle

	// Of the goroutine that changes flows.
	installed  map[programKey]*Flow
	mtus       map[int]int // of each Ethernet interface, by index
	freeMeters []uint32
	resting    []resting

	attachMu sync.Mutex
	attached map[int]attachment // by interface; guarded by attachMu

	mu sync.Mutex
	// Guarded by mu.
	freeWays []uint32
	used     map[uint32]struct{} // ways, by the even one
	gone     [2]Traffic          // of flows that are no more, up and down
}

// resting is what the kernel may be using for a moment more, after it cannot be found.
type resting struct {
	since time.Time
	way   uint32 // 0 if it is
	meter uint32
}

// rest is how long that may be: the program runs for a microsecond, unless the machine
// that it runs on is a virtual one which is stopped meanwhile.
const rest = time.Second

const (
	up = iota
	down

	meterUp     = 1 // as in relay.bpf.c
	meterDown   = 2
	firstMeter  = 3
	perFlow     = 2 // ways, and keys
	metersAFlow = 4
)

// Open loads the program and tries it with packets, without attaching it. It fails where
// the kernel, or the rights of the process, do not suffice, and says which.
func Open(c Config) (*Path, error) {
	p := &Path{
		log: c.Log, clock: c.Clock, classic: c.Classic, port: c.ListenPort,
		installed: make(map[programKey]*Flow), attached: make(map[int]attachment), used: make(map[uint32]struct{}),
	}
	if err := p.load(c); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.test(c.ListenPort); err != nil {
		return nil, errors.Join(fmt.Errorf("offload: the program does not do here what it should: %w", err), p.Close())
	}
	return p, nil
}

func (p *Path) load(c Config) (err error) {
	spec, err := loadProgram()
	if err != nil {
		return fmt.Errorf("offload: %w", err)
	}
	ways, meters := (c.Flows+1)*perFlow, firstMeter+c.Flows*metersAFlow
	spec.Maps[programMapFlows].MaxEntries = uint32(c.Flows * perFlow)
	spec.Maps[programMapWays].MaxEntries = uint32(ways)
	spec.Maps[programMapMeters].MaxEntries = uint32(meters)
	if n := spec.Maps[programMapLeftCounts].MaxEntries; int(n) != len(Lefts) {
		return fmt.Errorf("offload: the program has %d reasons to leave packets, and this one %d", n, len(Lefts))
	}
	ahead, err := clockAhead(c.Clock)
	if err != nil {
		return err
	}
	if err := errors.Join(spec.Variables[programVarListenPort].Set(c.ListenPort), spec.Variables[programVarClockAhead].Set(uint64(ahead))); err != nil {
		return fmt.Errorf("offload: %w", err)
	}
	var o programObjects
	if err := spec.LoadAndAssign(&o, nil); err != nil {
		return explain(err)
	}
	p.program, p.flows, p.counts = o.Relay, o.Flows, o.LeftCounts
	defer func() { err = errors.Join(err, o.Ways.Close(), o.Meters.Close()) }() // what is mapped stays
	if p.ways, err = share[programWay](p, o.Ways, ways); err != nil {
		return err
	}
	if p.meters, err = share[programMeter](p, o.Meters, meters); err != nil {
		return err
	}
	for i := c.Flows; i >= 1; i-- {
		p.freeWays = append(p.freeWays, uint32(i*perFlow))
	}
	for i := meters - 1; i >= firstMeter; i-- {
		p.freeMeters = append(p.freeMeters, uint32(i))
	}
	if p.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return fmt.Errorf("offload: netlink: %w", err)
	}
	return nil
}

// explain says what is missing where the kernel refuses.
func explain(err error) error {
	var verifier *ebpf.VerifierError
	switch {
	case tooOld(): // the reason that it gives may mislead, such as too little memory that may be locked
		return errors.New("offload: this kernel is too old; it must be 5.12 or later")
	case errors.Is(err, unix.EPERM): // EACCES is the verifier's
		// The library takes it for too little memory that may be locked.
		return fmt.Errorf("offload: bpf: %w: it takes CAP_BPF, CAP_NET_ADMIN, and whoever filters system calls to let bpf pass", unix.EPERM)
	case errors.As(err, &verifier), errors.Is(err, ebpf.ErrNotSupported):
		return fmt.Errorf("offload: this kernel does not take the program; it must be 5.12 or later: %w", err)
	}
	return fmt.Errorf("offload: %w", err)
}

// tooOld reports whether the kernel is known to be too old: 5.12 has the atomic operations
// that the program uses.
func tooOld() bool {
	var name unix.Utsname
	var major, minor int
	if unix.Uname(&name) != nil {
		return false
	}
	n, _ := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	return n == 2 && (major < 5 || major == 5 && minor < 12)
}

// clockAhead is how far a clock is ahead of the kernel's monotonic one. It looks several
// times, as this process may be stopped between the two.
func clockAhead(clock func() int64) (ahead int64, err error) {
	best := int64(math.MaxInt64)
	for range 10 {
		var before, after unix.Timespec
		err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &before)
		now := clock()
		if err := errors.Join(err, unix.ClockGettime(unix.CLOCK_MONOTONIC, &after)); err != nil {
			return 0, fmt.Errorf("offload: clock: %w", err)
		}
		if took := after.Nano() - before.Nano(); took < best {
			best, ahead = took, now-before.Nano()-took/2
		}
	}
	return ahead, nil
}

// share maps what an array holds into the memory of the process.
func share[T any](p *Path, m *ebpf.Map, n int) ([]T, error) {
	size := n * int(unsafe.Sizeof(*new(T)))
	page := os.Getpagesize()
	b, err := unix.Mmap(m.FD(), 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("offload: memory shared with the kernel: %w", err)
	}
	p.memory = append(p.memory, b)
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n), nil
}

// Bound bounds what is relayed of all flows together, each way, by meters that the kernel
// shares then. It is called before any flow is installed.
func (p *Path) Bound(perSecond int64, adopt func(up, down *Meter)) {
	for _, i := range []uint32{meterUp, meterDown} {
		atomic.StoreUint64(&p.meters[i].PerSecond, uint64(perSecond))
	}
	adopt(p.meter(meterUp), p.meter(meterDown))
}

func (p *Path) meter(i uint32) *Meter {
	return &Meter{Full: (*atomic.Int64)(unsafe.Pointer(&p.meters[i].Full)), index: i}
}

// Meter returns a meter for so many bytes a second, or nil if there is none left.
func (p *Path) Meter(perSecond int64) *Meter {
	p.sweep()
	if len(p.freeMeters) == 0 {
		return nil
	}
	m := p.meter(p.freeMeters[len(p.freeMeters)-1])
	p.freeMeters = p.freeMeters[:len(p.freeMeters)-1]
	m.Full.Store(0)
	atomic.StoreUint64(&p.meters[m.index].PerSecond, uint64(perSecond))
	return m
}

// Free gives a meter back, which no flow has any more.
func (p *Path) Free(m *Meter) {
	p.resting = append(p.resting, resting{since: time.Now(), meter: m.index})
}

// sweep takes back what the kernel no longer uses.
func (p *Path) sweep() {
	for len(p.resting) > 0 && time.Since(p.resting[0].since) >= rest {
		r := p.resting[0]
		p.resting = p.resting[1:]
		if r.meter != 0 {
			p.freeMeters = append(p.freeMeters, r.meter)
		}
		if r.way != 0 {
			p.mu.Lock()
			p.gone[up].add(p.traffic(r.way + up))
			p.gone[down].add(p.traffic(r.way + down))
			delete(p.used, r.way)
			p.freeWays = append(p.freeWays, r.way)
			p.mu.Unlock()
		}
	}
}

// Traffic returns what all flows have carried, up to peers and down to clients. It may be
// called from any goroutine, but not once the Path is closed.
func (p *Path) Traffic() (toPeers, toClients Traffic) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := p.gone
	for w := range p.used {
		sum[up].add(p.traffic(w + up))
		sum[down].add(p.traffic(w + down))
	}
	return sum[up], sum[down]
}

func (p *Path) traffic(way uint32) Traffic {
	w := &p.ways[way]
	return Traffic{atomic.LoadUint64(&w.Packets), atomic.LoadUint64(&w.Bytes), atomic.LoadUint64(&w.Dropped)}
}

// Left returns how many packets of flows were left to user space, by reason. It may be
// called from any goroutine, but not once the Path is closed.
func (p *Path) Left() (map[Left]uint64, error) {
	all := make(map[Left]uint64, len(Lefts))
	for i, why := range Lefts {
		var each []uint64
		if err := p.counts.Lookup(uint32(i), &each); err != nil {
			return nil, fmt.Errorf("offload: %w", err)
		}
		for _, n := range each {
			all[why] += n
		}
	}
	return all, nil
}

// Close detaches the program and forgets all. Nobody may hold a [Flow] or a [Meter] of it.
func (p *Path) Close() error {
	err := p.Detach()
	for _, b := range p.memory {
		err = errors.Join(err, unix.Munmap(b))
	}
	p.memory, p.ways, p.meters = nil, nil, nil
	if p.routes != nil {
		p.routes.Close()
	}
	return errors.Join(err, p.program.Close(), p.flows.Close(), p.counts.Close())
}
