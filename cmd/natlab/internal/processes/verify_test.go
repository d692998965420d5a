package processes

import (
	"context"
	"errors"
	"testing"

	"switchboard/relay/natlab"
)

func TestKindsOfNATs(t *testing.T) {
	behind := func(nats ...natlab.NAT) natlab.Topology {
		top := natlab.Topology{
			Networks: map[string]natlab.NetworkSpec{"home": {}, "carrier": {}},
			Routers:  map[string]natlab.RouterSpec{},
			Hosts:    map[string]natlab.HostSpec{"phone": {Networks: []string{natlab.Internet}}},
		}
		inside := []string{"home", "carrier", natlab.Internet}
		for i, n := range nats {
			top.Hosts["phone"] = natlab.HostSpec{Networks: []string{"home"}}
			top.Routers[inside[i]+"-nat"] = natlab.RouterSpec{Inside: inside[i], Outside: inside[min(i+1, 2)], NAT: &n}
		}
		if r, ok := top.Routers["home-nat"]; ok && len(nats) == 1 {
			r.Outside = natlab.Internet
			top.Routers["home-nat"] = r
		}
		return top
	}
	if got := kindOf(behind(), "phone"); got != "" {
		t.Errorf("a phone in the internet is behind %s", got)
	}
	seen := map[string]bool{}
	for _, top := range []natlab.Topology{
		behind(natlab.FullCone), behind(natlab.Symmetric), behind(natlab.PortRestricted, natlab.Symmetric),
	} {
		seen[kindOf(top, "phone")] = true
	}
	slow := behind(natlab.FullCone)
	slow.Networks["home"] = natlab.NetworkSpec{Link: natlab.Link{Loss: 0.1}}
	seen[kindOf(slow, "phone")] = true
	if len(seen) != 4 || seen[""] {
		t.Errorf("four kinds are %d: %v", len(seen), seen)
	}
	if one, other := behind(natlab.FullCone), behind(natlab.FullCone); kindOf(one, "phone") != kindOf(other, "phone") {
		t.Error("a kind is not itself")
	}
}

func TestKindsAreProbedOnce(t *testing.T) {
	var v verified
	times, wrong := 0, errors.New("another NAT")
	probe := func() error { times++; return wrong }
	gone, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := v.of("a").once(gone, probe); err == nil || err.Error() != "enough" {
		t.Errorf("cancelled: %v", err)
	}
	for range 3 {
		if err := v.of("a").once(t.Context(), probe); !errors.Is(err, wrong) {
			t.Errorf("%v", err)
		}
	}
	if times != 2 {
		t.Errorf("probed %d times, want 2: once in vain", times)
	}
	if err := v.of("b").once(t.Context(), func() error { return nil }); err != nil {
		t.Error(err)
	}
}
