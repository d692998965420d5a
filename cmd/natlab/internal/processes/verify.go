package processes

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"switchboard/relay/natlab"
)

// verified is what probes have found of kinds of NATs, so that each kind is probed once and
// not in every call of a matrix.
type verified struct {
	mu    sync.Mutex
	kinds map[string]*kindOfNAT // guarded by mu
}

// kindOfNAT is the NATs in front of a host.
type kindOfNAT struct {
	mu     sync.Mutex // held while it is probed
	probed bool       // guarded by mu, as the next
	err    error
}

func (v *verified) of(kind string) *kindOfNAT {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.kinds == nil {
		v.kinds = map[string]*kindOfNAT{}
	}
	if v.kinds[kind] == nil {
		v.kinds[kind] = &kindOfNAT{}
	}
	return v.kinds[kind]
}

// once calls probe, unless it was called before; what it has said then is returned again.
// That ctx has ended says nothing of the NATs.
func (k *kindOfNAT) once(ctx context.Context, probe func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.probed {
		return k.err
	}
	err := probe()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	k.probed, k.err = true, err
	return err
}

// kindOf names the NATs between a host and the internet, with the lines between them; "" is
// for none, and for those that cannot be probed.
func kindOf(t natlab.Topology, host string) string {
	type hop struct {
		Link   natlab.Link
		Router natlab.RouterSpec
		Shared int // how many hosts it has
	}
	var hops []hop
	network := t.Hosts[host].Networks[0]
	for network != natlab.Internet {
		r, ok := leadsOut(t, network)
		if !ok || r.NAT != nil && tooFew(r.NAT.PortRange) {
			return ""
		}
		h := hop{Link: t.Networks[network].Link, Router: r}
		for _, other := range t.Hosts {
			if other.Networks[0] == network {
				h.Shared++
			}
		}
		network = r.Outside
		h.Router.Inside, h.Router.Outside = "", ""
		hops = append(hops, h)
	}
	if len(hops) == 0 {
		return ""
	}
	text, _ := json.Marshal(hops) // plain values, which never fail
	return string(text)
}

// tooFew reports whether a NAT has so few ports that a probe, which takes some twenty for as
// long as mappings live, would leave none to the call, or find none.
func tooFew(ports natlab.PortRange) bool {
	return ports != natlab.PortRange{} && ports.Max-ports.Min < 256
}

func leadsOut(t natlab.Topology, network string) (natlab.RouterSpec, bool) {
	for _, r := range t.Routers {
		if r.Inside == network {
			return r, true
		}
	}
	return natlab.RouterSpec{}, false
}

// verify has an independent probe, coturn's, say whether the NATs in front of the phones are
// what the case takes them for. Where they are not, no call means anything.
func (p *placing) verify(ctx context.Context) error {
	var errs [2]error
	var both sync.WaitGroup
	for i, host := range []string{p.c.Caller, p.c.Callee} {
		kind := kindOf(p.c.Topology, host)
		if kind == "" {
			continue
		}
		both.Go(func() {
			errs[i] = p.engine.verified.of(kind).once(ctx, func() error {
				begun := time.Now()
				found, err := p.lab.Verify(ctx, host, true)
				p.log.Debug("NATs are probed", "host", host, "found", found, "took", time.Since(begun), "error", err)
				return err
			})
		})
	}
	both.Wait()
	for _, err := range errs {
		if err != nil {
			return labError{fmt.Errorf("a NAT is not what it is taken for, or cannot be probed: %w", err)}
		}
	}
	return nil
}
