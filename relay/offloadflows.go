package relay

import (
	"errors"
	"net/netip"
	"time"

	"switchboard/relay/internal/offload"
)

// notOffloaded is why the kernel does not relay a channel, as a metric's label.
type notOffloaded string

const (
	notForFull      notOffloaded = "full"      // it has no room for more
	notForFamily    notOffloaded = "family"    // client and relayed address are of two families
	notForLocal     notOffloaded = "local"     // the peer, or the client, is this machine
	notForRoute     notOffloaded = "route"     // there is no way there
	notForInterface notOffloaded = "interface" // the way is not over Ethernet
	notForPolicy    notOffloaded = "policy"    // the peer is no longer allowed
	notForKernel    notOffloaded = "kernel"    // it failed
)

var notOffloadeds = []notOffloaded{notForFull, notForFamily, notForLocal, notForRoute, notForInterface, notForPolicy, notForKernel}

func notOffloadedFor(err error) notOffloaded {
	for sentinel, why := range map[error]notOffloaded{
		offload.ErrFull: notForFull, offload.ErrFamily: notForFamily, offload.ErrLocal: notForLocal,
		offload.ErrRoute: notForRoute, offload.ErrInterface: notForInterface, errPolicy: notForPolicy,
	} {
		if errors.Is(err, sentinel) {
			return why
		}
	}
	return notForKernel
}

var errPolicy = errors.New("the peer is not allowed")

// ask queues a flow for the kernel.
func (o *offloader) ask(f *flow) {
	if f.asked.Swap(true) {
		return
	}
	o.mu.Lock()
	o.asked = append(o.asked, f)
	o.mu.Unlock()
	signal(o.wake)
}

// leave ends what the kernel relays of a flow that is no more.
func (o *offloader) leave(f *flow) {
	f.endOffloaded()
	if !f.asked.Load() {
		return
	}
	o.mu.Lock()
	o.left = append(o.left, f)
	o.mu.Unlock()
	signal(o.wake)
}

func (f *flow) endOffloaded() {
	if k := f.offloaded.Load(); k != nil {
		k.End()
	}
}

// mediaInKernel is when the kernel last relayed media of a flow.
func (f *flow) mediaInKernel(now time.Time) (at time.Time, ok bool) {
	if k := f.offloaded.Load(); k != nil {
		if last := k.Media(); last != 0 {
			return now.Add(-time.Duration(tick() - last)), true
		}
	}
	return time.Time{}, false
}

// process gives the kernel the flows that wait for it, and takes from it those that are no
// more.
func (o *offloader) process() {
	o.mu.Lock()
	asked, left := o.asked, o.left
	o.asked, o.left = nil, nil
	o.mu.Unlock()
	for _, f := range asked {
		switch err := o.install(f); {
		case f.gone.Load():
		case !o.on:
			f.asked.Store(false)
		case err != nil:
			o.refuse(f, err)
		}
	}
	for _, f := range left {
		o.withdraw(f)
	}
	o.tell()
}

func (o *offloader) refuse(f *flow, err error) {
	why := notOffloadedFor(err)
	o.of.metrics.notOffloaded[why].Inc()
	o.refused = append(o.refused, f)
	if why == notForKernel && !o.failed { // once in a while, as each channel may fail alike
		o.failed = true
		o.log.Warn("the kernel does not take channels; the process relays them", "error", err)
	}
}

// retry lets flows be offered again that were refused.
func (o *offloader) retry() {
	for _, f := range o.refused {
		f.asked.Store(false)
	}
	o.refused = nil
}

// install gives the kernel a flow.
func (o *offloader) install(f *flow) error {
	if !o.on || f.gone.Load() {
		return nil
	}
	e, err := o.ends(f)
	if err != nil {
		return err
	}
	c := f.relay
	meters, ok := o.share(c.own.up, c.user.up, c.own.down, c.user.down)
	if !ok {
		return offload.ErrFull
	}
	k, err := o.path.Install(e, [2]offload.Meters{{Own: meters[0], User: meters[1]}, {Own: meters[2], User: meters[3]}})
	if err != nil {
		o.unshare(c)
		return err
	}
	o.all[f] = struct{}{}
	f.offloaded.Store(k)
	c.socket.Join(false)
	o.extend(f, tick())
	return nil
}

// judge says why the kernel must not relay a flow, or nothing.
func (o *offloader) judge(f *flow) error {
	if o.of.policy.judge(f) != allowed {
		return errPolicy
	}
	if (*o.of.policy.own.Load())[f.peer.Addr()] {
		return offload.ErrLocal
	}
	return nil
}

// ends are the addresses that a flow's packets have on the wire.
func (o *offloader) ends(f *flow) (e offload.Ends, err error) {
	if err := o.judge(f); err != nil {
		return e, err
	}
	listener := o.listen.Addr().Unmap()
	if listener.IsUnspecified() {
		if listener, err = o.path.From(f.client.Addr()); err != nil {
			return e, err
		}
	}
	return offload.Ends{
		Client: f.client, Listener: netip.AddrPortFrom(listener, o.listen.Port()), Channel: f.channel,
		Relay: netip.AddrPortFrom(f.relay.at.bind, f.relay.allocation.port), Peer: f.at,
	}, nil
}

// withdraw takes a flow from the kernel, if it has it.
func (o *offloader) withdraw(f *flow) {
	k := f.offloaded.Swap(nil)
	if k == nil {
		return
	}
	if last := k.Media(); last != 0 {
		media := &f.relay.allocation.media
		media.Store(max(media.Load(), time.Now().UnixNano()-(tick()-last)))
	}
	o.path.Remove(k)
	o.unshare(f.relay)
	delete(o.all, f)
}

// extend has the kernel relay a flow for a while more.
func (o *offloader) extend(f *flow, now int64) {
	k := f.offloaded.Load()
	k.Extend(now+int64(offloadFor), !heedsPermissions || f.permitted.Load())
	// What has ended meanwhile must not go on.
	if f.gone.Load() {
		k.End()
	}
	if heedsPermissions && !f.permitted.Load() {
		k.EndDown()
	}
}

// renew has the kernel relay what it relays for a while more, but what is no longer allowed.
func (o *offloader) renew() {
	now := tick()
	o.failed = false
	for f := range o.all {
		if err := o.judge(f); err != nil {
			o.withdraw(f)
			o.refuse(f, err)
			continue
		}
		o.extend(f, now)
	}
	o.tell()
}

// reconcile looks whether the kernel has all that it was given, and nothing else.
func (o *offloader) reconcile() {
	if o.path == nil || !o.on {
		return
	}
	n, err := o.path.Reconcile()
	if n > 0 || err != nil {
		o.of.metrics.differences.Add(float64(n))
		o.log.Warn("the kernel did not have just the channels that it was given; that was put right, but for errors", "entries", n, "errors", errorText(err))
	}
}
