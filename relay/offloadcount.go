package relay

import (
	"switchboard/relay/internal/offload"
)

// tell says how many channels the kernel relays.
func (o *offloader) tell() {
	o.of.metrics.offloaded.Set(float64(len(o.all)))
	if status := *o.status.Load(); status.InKernel != len(o.all) {
		status.InKernel = len(o.all)
		o.status.Store(&status)
	}
}

// count adds what the kernel has counted since it was last asked.
func (o *offloader) count() {
	if o.path == nil {
		return
	}
	m := o.of.metrics
	up, down := o.path.Traffic()
	for i, now := range []offload.Traffic{up, down} {
		before := o.counted[i]
		packets := now.Packets - before.Packets
		[]*traffic{&m.up, &m.down}[i].addAll(int(packets), int(now.Bytes-before.Bytes))
		m.byKernel[i].Add(packets)
		m.drops[dropBandwidth].Add(float64(now.Dropped - before.Dropped))
		o.counted[i] = now
	}
	left, err := o.path.Left()
	if text := errorText(err); text != o.uncounted {
		o.uncounted = text
		if err != nil {
			o.log.Warn("what the kernel leaves is not known", "error", err)
		}
	}
	for why, n := range left {
		m.left[why].Add(float64(n - o.lefts[why]))
		o.lefts[why] = n
	}
}
