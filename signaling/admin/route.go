package admin

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"slices"

	"switchboard/directory"
	"switchboard/directory/e164"
	"switchboard/signaling"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

// Routing is what decides about the relays of calls. All of it is required.
type Routing struct {
	// Rank says how the relays stand for a call of a region, which is this node's own if
	// it is not known, and names the TURN URLs that every call is given beside them. It
	// is what calls are given relays by.
	Rank func(call, region string) (ranked []region.Candidate, configured []string)
	// Absent is the region of a device that is not connected, by its number alone.
	Absent func(n e164.Number) region.Choice
	// Country is where an address is (GeoIP), "" if that is not known.
	Country func(a netip.Addr) string
	// Policies says which candidates the sides of a call are told to use while it rings,
	// and whether the callee blocks the caller.
	Policies func(ctx context.Context, caller, callee signaling.Party) (own, theirs protocol.ICEPolicy, blocked bool, err error)
}

func (r Routing) complete() bool {
	return r.Rank != nil && r.Absent != nil && r.Country != nil && r.Policies != nil
}

// route explains which relays a call between two numbers would be given now.
func (a *API) route(ctx context.Context, r routeRequest) (Route, error) {
	var sides [2]RouteSide
	var parties [2]signaling.Party
	for i, text := range []string{r.Caller, r.Callee} {
		n, err := e164.Parse(text, r.Region)
		if err != nil {
			return Route{}, err
		}
		if parties[i].Number = n; i == 1 && n == parties[0].Number {
			return Route{}, protocol.NewError(protocol.CodeSelf, "caller and callee are the same number")
		}
		if sides[i], err = a.routeSide(ctx, n); err != nil {
			return Route{}, err
		}
		parties[i].Account = sides[i].Account
	}
	out := Route{Call: cmp.Or(r.Call, rand.Text()), Caller: sides[0], Callee: sides[1]}
	if err := out.decide(directory.Device(r.Device)); err != nil {
		return Route{}, err
	}
	if out.Caller.Account != "" {
		own, theirs, blocked, err := a.deps.Routing.Policies(ctx, parties[0], parties[1])
		if err != nil {
			return Route{}, err
		}
		out.Caller.Policy, out.Callee.Policy, out.Blocked = policyWord(own), policyWord(theirs), blocked
	}
	ranked, configured := a.deps.Routing.Rank(out.Call, out.Region)
	out.Relays, out.Configured = []RouteRelay{}, configured
	for _, c := range ranked {
		out.Relays = append(out.Relays, RouteRelay{
			Name: c.Name, Region: c.Region, Zone: c.Zone, Rank: c.Rank.String(), Verdict: string(c.Verdict), Share: c.Share,
			Allocations: c.Used, Max: c.Max,
		})
	}
	return out, nil
}

// decide takes the caller's region for that of the call: of the device that is asked
// for, or of the first that is connected, or else of one that is not.
func (r *Route) decide(device directory.Device) error {
	r.Region, r.Rule = r.Caller.Absent.Region, r.Caller.Absent.Rule
	if len(r.Caller.Devices) == 0 && device == 0 {
		return nil
	}
	i := 0
	if device != 0 {
		i = slices.IndexFunc(r.Caller.Devices, func(d RouteDevice) bool { return d.Device == device })
	}
	if i < 0 {
		return protocol.NewError(protocol.CodeNotFound, "the caller has no such device that is connected")
	}
	r.Device, r.Region, r.Rule = r.Caller.Devices[i].Device, r.Caller.Devices[i].Region, r.Caller.Devices[i].Rule
	return nil
}

// routeSide tells where the devices of a number are best served, and by which rule.
// Nobody need have the number.
func (a *API) routeSide(ctx context.Context, n e164.Number) (RouteSide, error) {
	absent := a.deps.Routing.Absent(n)
	side := RouteSide{
		Number: n.String(), Country: n.Region(), Devices: []RouteDevice{},
		Absent: RouteRule{Region: absent.Region, Rule: string(absent.Reason)},
	}
	account, err := a.deps.Numbers.Resolve(ctx, n)
	if errors.Is(err, directory.ErrNotFound) {
		return side, nil
	}
	if err != nil {
		return side, err
	}
	side.Account = account
	sessions, err := a.sessionsOf(ctx, account)
	if err != nil {
		return side, err
	}
	for _, s := range sessions {
		d := RouteDevice{Device: s.Device, Node: s.Node, State: s.State, Region: s.Region, Rule: s.Rule, RoundTrips: s.RoundTrips}
		if from, err := netip.ParseAddr(s.Remote); err == nil {
			d.Country = a.deps.Routing.Country(from)
		}
		side.Devices = append(side.Devices, d)
	}
	slices.SortFunc(side.Devices, func(x, y RouteDevice) int { return cmp.Compare(x.Device, y.Device) })
	return side, nil
}

// policyWord is the policy's name for operators.
func policyWord(p protocol.ICEPolicy) string { return cmp.Or(string(p), "all") }
