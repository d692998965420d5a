package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"switchboard/relay/internal/datagram"
	"switchboard/relay/internal/offload"
)

const (
	// offloadFor is how long the kernel relays a channel without being told to go on. It is
	// told three times in that time.
	offloadFor = 30 * time.Second
	// countEvery is how often what the kernel has counted is read.
	countEvery = time.Second
	// lookEvery is how often it is looked whether the kernel has what it was given, and
	// whether the ways to clients and peers are the same.
	lookEvery = 30 * time.Second
	// changesWithin is how long changes of the network gather, and changesEvery how often
	// they are followed at the most: to look up all ways takes a while.
	changesWithin = 100 * time.Millisecond
	changesEvery  = 3 * time.Second
	// channelsAnAllocation is how many of an allocation's channels the kernel has room for,
	// on average. A call has one or two.
	channelsAnAllocation = 4
	minOffloaded         = 64
	maxOffloaded         = 1 << 18
)

// offloader has the kernel relay the channels of clients over UDP, where it can. A channel
// is offered to it when its first packet has gone through here, so that all that must be
// right for that has been seen to be. What the kernel is told holds for a while only: if
// nobody is there any more to tell it again, it relays nothing.
//
// One goroutine, that of run, changes what the kernel has. All others queue flows for it,
// and end what has ended by themselves, at once.
type offloader struct {
	// Static after newOffloader.
	config  Config
	of      *generator
	log     *slog.Logger
	able    bool // the relay is on this machine's network, and may gather packets
	classic bool // attach as kernels before 6.6 need; tests do
	wake    chan struct{}
	changed chan struct{} // holds one when the network has changed
	unheard chan struct{} // holds one when changes of the network are not all told
	do      chan func()
	over    chan struct{} // closed when run has ended

	status atomic.Pointer[DataPath]

	mu sync.Mutex
	// Guarded by mu.
	asked, left []*flow

	// Owned by whoever opens it, and then by run.
	path    *offload.Path // nil until it was to be used
	on      bool
	sockets []*datagram.Socket // of the listeners
	listen  netip.AddrPort
	all     map[*flow]struct{}
	refused []*flow // to be tried again later
	failed  bool    // the log has it that the kernel failed, since it was last told to go on
	without string  // why the kernel does not relay at some interfaces, as the log has it
	deaf    string  // why changes of the network are not told, as the log has it
	meters  map[*meter]*sharedMeter
	counted [2]offload.Traffic
	lefts   map[offload.Left]uint64
	// Why what the kernel leaves is not known, as the log has it.
	uncounted string
}

func newOffloader(c Config, g *generator, log *slog.Logger) *offloader {
	_, here := g.network.(machine)
	o := &offloader{
		config: c, of: g, log: log, able: here && g.how == datagram.Auto,
		wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), unheard: make(chan struct{}, 1), do: make(chan func()), over: make(chan struct{}),
		all: make(map[*flow]struct{}), meters: make(map[*meter]*sharedMeter), lefts: make(map[offload.Left]uint64),
	}
	o.say(DataPath{Path: DataPathUser})
	return o
}

// open decides who relays, and says so. It fails where the settings want the kernel to, and
// it cannot.
func (o *offloader) open(l *listeners) error {
	for _, front := range l.udp {
		o.sockets = append(o.sockets, front.socket)
	}
	o.listen = o.sockets[0].LocalAddr().AddrPort()
	status := DataPath{Path: DataPathUser, Reason: "data_path: " + o.config.DataPath}
	switch {
	case o.config.DataPath == DataPathPlain:
		status.Path = DataPathPlain
	case !o.able:
		status = DataPath{Path: DataPathPlain, Reason: "the network is not this machine's"}
	case o.config.DataPath != DataPathUser:
		var err error
		if status, err = o.start(); err != nil && o.config.DataPath == DataPathEBPF {
			return fmt.Errorf("data_path: ebpf, but the kernel does not relay: %s; with auto, this process does", status.Reason)
		}
	}
	o.say(status)
	o.announce()
	return nil
}

// announce tells operators who relays.
func (o *offloader) announce() {
	status := *o.status.Load()
	attrs := []any{"path", status.Path, "reason", status.Reason}
	if status.Path == DataPathEBPF {
		attrs = append(attrs, "interfaces", status.Interfaces)
	}
	o.log.Info("data path", attrs...)
}

func (o *offloader) say(d DataPath) {
	o.status.Store(&d)
	for path, g := range o.of.metrics.paths {
		g.Set(0)
		if path == d.Path {
			g.Set(1)
		}
	}
}

// inOneLine is an error, or several, as the reason for a data path.
func inOneLine(err error) string {
	lines := strings.Split(err.Error(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimPrefix(line, "offload: ")
	}
	return strings.Join(lines, "; ")
}

// start has the kernel relay. If it does not, the status says why, as the error does.
func (o *offloader) start() (status DataPath, err error) {
	defer func() {
		if err != nil {
			status = DataPath{Path: DataPathUser, Reason: inOneLine(err)}
		}
	}()
	if o.path == nil {
		if o.path, err = offload.Open(o.offloadConfig()); err != nil {
			return status, err
		}
		if all := o.of.all; all.up != nil {
			o.path.Bound(all.up.perSecond, func(up, down *offload.Meter) { all.up.move(up.Full); all.down.move(down.Full) })
		}
	}
	names, err := o.path.Cover(o.isOurs)
	if len(names) == 0 {
		return status, cmp.Or(err, errors.New("no Ethernet interface that is up has an address of the relay's"))
	}
	o.leftOut(err)
	o.on = true
	for _, s := range o.sockets {
		s.Join(false)
	}
	o.of.flows.offloader.Store(o)
	o.giveUp()
	return DataPath{Path: DataPathEBPF, Reason: "this kernel did what it should with packets that it was tried with", Interfaces: names}, nil
}

// giveUp gives up what rights of the process the kernel's path took and needs no more.
func (o *offloader) giveUp() {
	switch names, err := o.path.GiveUp(); {
	case err != nil:
		o.log.Warn("rights are not given up", "error", err)
	case len(names) > 0:
		o.log.Info("rights given up that the data path needs no more", "capabilities", names)
	}
}

func (o *offloader) offloadConfig() offload.Config {
	return offload.Config{
		ListenPort: o.listen.Port(), Clock: tick, Log: o.log, Classic: o.classic,
		Flows: max(minOffloaded, min(o.config.Quotas.Allocations*channelsAnAllocation, maxOffloaded)),
	}
}

// isOurs reports whether clients or peers may send to an address of this machine's.
func (o *offloader) isOurs(a netip.Addr) bool {
	at := o.listen.Addr().Unmap()
	if at == a || at.IsUnspecified() && a.IsGlobalUnicast() && (at.Is6() || a.Is4()) {
		return true
	}
	return slices.ContainsFunc(o.of.addresses.each(), func(r relayAddress) bool { return r.bind == a })
}

// stop has the kernel relay no more.
func (o *offloader) stop() error {
	o.of.flows.offloader.Store(nil)
	o.on = false
	for f := range o.all {
		o.withdraw(f)
		f.relay.socket.Join(true)
		f.asked.Store(false)
	}
	o.retry()
	for _, s := range o.sockets {
		s.Join(true)
	}
	if o.path == nil {
		return nil
	}
	o.count()
	return o.path.Detach()
}

// close forgets what the kernel was told, when nobody relays any more.
func (o *offloader) close() error {
	if o.path == nil {
		return nil
	}
	return o.path.Close()
}

// signal puts something into a channel that holds one.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run keeps the kernel in step until ctx ends, and leaves it nothing.
func (o *offloader) run(ctx context.Context) {
	defer close(o.over)
	t := tickers{time.NewTicker(offloadFor / 3), time.NewTicker(lookEvery), time.NewTicker(countEvery)}
	defer t.stop()
	for {
		waiting := func() {}
		if o.path != nil && o.on {
			waiting = o.watch()
		}
		again := o.serve(ctx, t)
		waiting()
		if !again {
			break
		}
	}
	if err := o.stop(); err != nil {
		o.log.Warn("the program is not detached from all interfaces", "error", err)
	}
}

// watch has changes of the network told, until what it returns is called.
func (o *offloader) watch() (stop func()) {
	done := make(chan struct{})
	wait, err := o.path.Watch(done, func() { signal(o.changed) }, func() { signal(o.unheard) })
	if err != nil {
		signal(o.unheard)
	}
	if text := errorText(err); text != o.deaf {
		o.deaf = text
		if err != nil {
			o.log.Warn("changes of routes and interfaces are not told; they are looked up from time to time", "error", err)
		}
	}
	signal(o.changed) // by what changed before it was watched
	return func() {
		close(done)
		wait()
		select {
		case <-o.unheard: // it is over
		default:
		}
	}
}

// serve does what is to be done until ctx ends, another data path is chosen, or the network
// is to be watched anew; then it returns true.
func (o *offloader) serve(ctx context.Context, t tickers) bool {
	var settle, anew <-chan time.Time
	var followed time.Time
	for {
		select {
		case <-ctx.Done():
			return false
		case do := <-o.do:
			on := o.on
			if do(); o.on != on {
				return true
			}
		case <-o.wake:
			o.process()
		case <-o.changed:
			if settle == nil {
				settle = time.After(max(changesWithin, changesEvery-time.Since(followed)))
			}
		case <-settle:
			settle, followed = nil, time.Now()
			o.follow()
		case <-o.unheard:
			if anew == nil {
				anew = time.After(changesEvery)
			}
		case <-anew:
			return true
		case <-t.renew.C:
			o.renew()
		case <-t.look.C:
			o.reconcile()
			o.follow()
		case <-t.count.C:
			o.count()
		}
	}
}

// tickers say when something is to be done again.
type tickers struct{ renew, look, count *time.Ticker }

func (t tickers) stop() {
	t.renew.Stop()
	t.look.Stop()
	t.count.Stop()
}

// follow follows changes of the network: interfaces, and the ways to clients and peers.
func (o *offloader) follow() {
	if o.path == nil || !o.on {
		return
	}
	names, err := o.path.Cover(o.isOurs)
	status := *o.status.Load()
	if !slices.Equal(names, status.Interfaces) {
		o.log.Info("the kernel relays at other interfaces now", "interfaces", names)
		status.Interfaces = names
		o.say(status)
	}
	o.leftOut(err)
	o.retry() // there may be a way now
	for f := range o.all {
		if err := o.path.Reroute(f.offloaded.Load()); err != nil {
			o.withdraw(f)
			o.refuse(f, err)
		}
	}
	o.tell()
}

// leftOut tells why the kernel does not relay at some interfaces, whenever that changes.
func (o *offloader) leftOut(err error) {
	text := errorText(err)
	if text != "" && text != o.without {
		o.log.Warn("the kernel relays, but not at all interfaces", "errors", text)
	}
	o.without = text
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return inOneLine(err)
}
