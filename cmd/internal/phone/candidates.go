package phone

import (
	"context"
	"fmt"
	"slices"

	"github.com/pion/webrtc/v4"

	"switchboard/signaling/protocol"
)

// sendCandidates sends what has been found, in as many messages as it takes,
// under the name of the present generation: it is called before a description
// begins another.
func (p *phone) sendCandidates() {
	p.flush = nil
	for more := true; more; {
		select {
		case c := <-p.found:
			p.take(c)
		default:
			more = false
		}
	}
	d := p.pc.LocalDescription()
	if d == nil || len(p.batch) == 0 || !p.open {
		return
	}
	gen := protocol.Generation(d.SDP)
	end := slices.Contains(p.batch, nil)
	var list []protocol.Candidate
	for _, c := range p.batch {
		if c != nil {
			p.preferences.rank(gen, c)
			list = append(list, onWire(c.ToJSON()))
		}
	}
	p.batch = nil
	for chunk := range slices.Chunk(list, protocol.MaxBatch) {
		p.request("candidates", func(ctx context.Context) error { return p.call.SendCandidates(ctx, gen, chunk, false) })
	}
	if end {
		p.request("candidates", func(ctx context.Context) error { return p.call.SendCandidates(ctx, gen, nil, true) })
	}
}

// take keeps a candidate that was found until it is sent.
func (p *phone) take(c *webrtc.ICECandidate) {
	p.batch = append(p.batch, c)
	if c != nil {
		p.story.candidate(c, p.network.wayFrom(related(c)))
	}
}

func onWire(c webrtc.ICECandidateInit) protocol.Candidate {
	k := protocol.Candidate{Candidate: c.Candidate}
	if c.SDPMid != nil {
		k.Mid = *c.SDPMid
	}
	if c.SDPMLineIndex != nil {
		line := int(*c.SDPMLineIndex)
		k.MLine = &line
	}
	return k
}

// maxCame bounds what is kept of the candidates that have come before the answer.
const maxCame = 256

func (p *phone) candidate(c protocol.Candidate) error {
	if c.Candidate == "" {
		return nil
	}
	init := webrtc.ICECandidateInit{Candidate: c.Candidate, SDPMid: &c.Mid}
	if c.MLine != nil {
		line := uint16(*c.MLine)
		init.SDPMLineIndex = &line
	}
	if p.times.answered.IsZero() && len(p.came) < maxCame {
		p.came = append(p.came, init)
	}
	if p.pc.RemoteDescription() == nil {
		p.pending = append(p.pending, init)
		return nil
	}
	p.network.checkers.tell(init.Candidate)
	if err := p.pc.AddICECandidate(init); err != nil {
		return fmt.Errorf("candidate: %w", err)
	}
	return nil
}

// takePending adds the candidates that came before the description.
func (p *phone) takePending() {
	for _, c := range p.pending {
		p.network.checkers.tell(c.Candidate)
		if err := p.pc.AddICECandidate(c); err != nil {
			p.o.warn(fmt.Errorf("candidate: %w", err))
		}
	}
	p.pending = nil
}
