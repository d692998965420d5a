package admin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/directory"
	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

const german = "+4930123456"

func TestRoute(t *testing.T) {
	o := open(t)
	measured := map[string]int{"eu": 12, "us": 95}
	for i := range o.sessions.pages["n2-b"] {
		s := &o.sessions.pages["n2-b"][i]
		s.Region, s.Reason, s.RoundTrips = "eu", region.ByRoundTrip, measured
	}
	r, err := o.client.Route(t.Context(), RouteQuery{Caller: alice, Callee: german, Call: "c1"})
	if err != nil {
		t.Fatal(err)
	}
	want := Route{
		Call: "c1", Region: "eu", Rule: "round_trip", Device: 1, Blocked: true,
		Caller: RouteSide{
			Number: "…101", Country: "US", Account: o.account, Policy: "relay_first", Absent: RouteRule{"us", "number"},
			Devices: []RouteDevice{{Device: 1, Node: "n2-b", State: "connected", Region: "eu", Rule: "round_trip", RoundTrips: measured, Country: "FR"}},
		},
		Callee: RouteSide{Number: "…456", Country: "DE", Policy: "relay", Absent: RouteRule{"eu", "number"}, Devices: []RouteDevice{}},
		Relays: []RouteRelay{
			{Name: "relay-1", Region: "eu", Zone: "a", Rank: "near", Verdict: "first", Share: 1, Allocations: 5, Max: 100},
			{Name: "relay-3", Region: "us", Zone: "b", Rank: "far", Verdict: "second", Max: 100},
			{Name: "relay-2", Region: "eu", Zone: "a", Rank: "busy", Verdict: "not_needed", Allocations: 90, Max: 100},
			{Name: "relay-5", Region: "eu", Rank: "draining", Verdict: "excluded"},
			{Name: "relay-4", Region: "us", Rank: "gone", Verdict: "excluded"},
		},
		Configured: []string{"turn:192.0.2.9:3478"},
	}
	if diff := cmp.Diff(want, r); diff != "" {
		t.Error(diff)
	}

	// The other way, the caller is not there, and nobody has the number.
	r, err = o.client.Route(t.Context(), RouteQuery{Caller: german, Callee: alice})
	if err != nil || r.Region != "eu" || r.Rule != "number" || r.Device != 0 || r.Call == "" || r.Caller.Policy != "" || r.Blocked {
		t.Errorf("from a number that nobody has: %+v, %v", r, err)
	}

	// The caller's node does not tell: the call's region is not known.
	o.sessions.fail = directory.ErrUnavailable
	r, err = o.client.Route(t.Context(), RouteQuery{Caller: alice, Callee: german})
	if err != nil || r.Region != "" || r.Rule != "" || r.Caller.Devices[0].State != "unknown" {
		t.Errorf("of a device whose node does not tell: %+v, %v", r, err)
	}
	for q, want := range map[RouteQuery]protocol.Code{
		{Caller: alice, Callee: "12"}:                        protocol.CodeNumber,
		{Caller: alice, Callee: "(415) 555-0102"}:            protocol.CodeNumber,
		{Caller: alice, Callee: alice}:                       protocol.CodeSelf,
		{Caller: alice}:                                      protocol.CodeInvalid,
		{Caller: alice, Callee: german, Device: 2}:           protocol.CodeNotFound,
		{Caller: german, Callee: alice, Device: 1}:           protocol.CodeNotFound,
		{Caller: alice, Callee: german, Call: "no call id"}:  protocol.CodeInvalid,
		{Caller: alice, Callee: strings.Repeat("1", 65)}:     protocol.CodeInvalid,
		{Caller: alice, Callee: german, Region: "Australia"}: protocol.CodeInvalid,
	} {
		if _, err := o.client.Route(t.Context(), q); protocol.CodeOf(err) != want {
			t.Errorf("%+v: %v, want %s", q, err, want)
		} else if strings.Contains(err.Error(), "555") {
			t.Errorf("an error repeats a number: %v", err)
		}
	}
	o.fail = directory.ErrUnavailable
	if _, err := o.client.Route(t.Context(), RouteQuery{Caller: alice, Callee: german}); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("without a directory: %v", err)
	}
}
