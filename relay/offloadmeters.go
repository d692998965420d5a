package relay

import (
	"switchboard/relay/internal/offload"
)

// sharedMeter is a meter that the kernel takes from, too, for so many flows.
type sharedMeter struct {
	*offload.Meter
	flows int
}

// share shares meters with the kernel, or none of them where it has no room.
func (o *offloader) share(all ...*meter) (shared []*offload.Meter, ok bool) {
	for i, m := range all {
		s := o.meters[m]
		switch {
		case m == nil:
			shared = append(shared, nil)
			continue
		case s == nil:
			k := o.path.Meter(m.perSecond)
			if k == nil {
				o.unshareEach(all[:i])
				return nil, false
			}
			m.move(k.Full)
			s = &sharedMeter{Meter: k}
			o.meters[m] = s
		}
		s.flows++
		shared = append(shared, s.Meter)
	}
	return shared, true
}

func (o *offloader) unshare(c *relayConn) {
	o.unshareEach([]*meter{c.own.up, c.user.up, c.own.down, c.user.down})
}

func (o *offloader) unshareEach(all []*meter) {
	for _, m := range all {
		if m == nil {
			continue
		}
		s := o.meters[m]
		if s.flows--; s.flows == 0 {
			m.back()
			o.path.Free(s.Meter)
			delete(o.meters, m)
		}
	}
}
