package nat

import "math/rand/v2"

// ports are the external ports of one protocol.
type ports struct {
	// Static after newPorts.
	how      Ports
	min, max uint16
	rnd      *rand.Rand

	taken map[uint16]*mapping
	last  uint16 // that was given in sequence
}

func newPorts(how Ports, r PortRange, rnd *rand.Rand) ports {
	if r == (PortRange{}) {
		r = PortRange{1024, 65535}
	}
	return ports{how: how, min: r.Min, max: r.Max, rnd: rnd, last: r.Max}
}

// choose finds a free port; false if there is none.
func (p *ports) choose(internal uint16) (uint16, bool) {
	if len(p.taken) > int(p.max)-int(p.min) {
		return 0, false
	}
	switch p.how {
	case PreservePorts:
		if internal >= p.min && internal <= p.max && p.taken[internal] == nil {
			return internal, true
		}
	case SequentialPorts:
		p.last = p.free(p.after(p.last))
		return p.last, true
	}
	return p.random(), true
}

// random is a free one by lot. Where most are taken, it is the first free one after one by
// lot.
func (p *ports) random() uint16 {
	const tries = 16
	var port uint16
	for range tries {
		port = p.min + uint16(p.rnd.IntN(int(p.max)-int(p.min)+1))
		if p.taken[port] == nil {
			return port
		}
	}
	return p.free(port)
}

// free is the first free port from one on; there is one.
func (p *ports) free(from uint16) uint16 {
	for p.taken[from] != nil {
		from = p.after(from)
	}
	return from
}

func (p *ports) after(port uint16) uint16 {
	if port >= p.max {
		return p.min
	}
	return port + 1
}
