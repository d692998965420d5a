package admin

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"switchboard/directory"
	"switchboard/signaling/cdr"
	"switchboard/signaling/cdr/cdrtest"
	"switchboard/signaling/protocol"
)

// written has calls that are over: one by a relay, one that Bob rejected, one that was
// kept from Carol.
func written(t *testing.T, o *office) {
	t.Helper()
	relayed, rejected, kept := cdrtest.Call("relayed"), cdrtest.Call("rejected"), cdrtest.Call("kept")
	relayed.Created, relayed.Ended = relayed.Created.Add(-48*time.Hour), relayed.Ended.Add(-48*time.Hour)
	rejected.Caller, rejected.Callee = cdr.Side{Account: cdrtest.Carol, Device: 1}, cdr.Side{Account: cdrtest.Bob}
	rejected.Reason, rejected.Path, rejected.Region, rejected.TalkedMS = protocol.ReasonDeclined, cdr.NoPath, "us", 0
	kept.Callee, kept.KeptFrom, kept.Reason, kept.Path, kept.EndedBy = cdr.Side{}, cdrtest.Carol, protocol.ReasonNoAnswer, cdr.NoPath, ""
	for _, r := range []cdr.Record{relayed, rejected, kept} {
		if err := o.calls.Write(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCalls(t *testing.T) {
	o := open(t)
	if page, err := o.client.Calls(t.Context(), CallsQuery{}); err != nil || page.Calls == nil || len(page.Calls) != 0 || page.Next != 0 {
		t.Errorf("before there are any: %+v, %v", page, err)
	}
	written(t, o)
	for _, test := range []struct {
		q    CallsQuery
		want string
	}{
		{CallsQuery{}, "kept rejected relayed"},
		{CallsQuery{Account: cdrtest.Bob}, "rejected relayed"},
		{CallsQuery{Account: cdrtest.Carol}, "rejected"},
		{CallsQuery{Call: "kept"}, "kept"},
		{CallsQuery{Since: "24h"}, "kept rejected"},
		{CallsQuery{Since: "1d"}, "kept rejected"},
		{CallsQuery{Since: "7d", Until: "24h"}, "relayed"},
		{CallsQuery{Until: time.Now().Add(-time.Hour).Format(time.RFC3339)}, "relayed"},
		{CallsQuery{Region: "us"}, "rejected"},
		{CallsQuery{Reason: "no_answer"}, "kept"},
		{CallsQuery{Path: "none", Limit: 2}, "kept rejected"},
		{CallsQuery{Path: "direct"}, ""},
	} {
		page, err := o.client.Calls(t.Context(), test.q)
		if err != nil {
			t.Errorf("%+v: %v", test.q, err)
		}
		var got []string
		for _, c := range page.Calls {
			got = append(got, c.Call)
		}
		if strings.Join(got, " ") != test.want || page.Next != 0 {
			t.Errorf("%+v: %v, next %d; want %s", test.q, got, page.Next, test.want)
		}
	}
	page, err := o.client.Calls(t.Context(), CallsQuery{Call: "relayed"})
	if err != nil || len(page.Calls) != 1 {
		t.Fatal(page, err)
	}
	c := page.Calls[0]
	want := CallRecord{
		Call: "relayed", Region: "eu", Media: []string{"audio"}, Created: c.Created, Ended: c.Created.Add(time.Minute),
		Caller: CallSide{
			Account: cdrtest.Alice, Device: 1, FirstMediaMS: new(int64(70)),
			Path:    &CallPath{Local: "relay", Remote: "srflx", Protocol: "udp", Relay: "tls", Server: "relay.example:443"},
			Quality: &CallQuality{Received: 900, Loss: 0.1, JitterMS: 3, RTTMS: 40, MOS: 3.1},
		},
		Callee:    CallSide{Account: cdrtest.Bob, Device: 2, Path: &CallPath{Local: "host", Remote: "relay", Protocol: "udp"}},
		RingingMS: new(int64(0)), AnsweredMS: new(int64(5000)), ConnectedMS: new(int64(5300)), TalkedMS: 55_000,
		Reason: "hangup", EndedBy: "callee", Path: "relay", Moves: 1,
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
	if page, err := o.client.Calls(t.Context(), CallsQuery{Call: "kept"}); err != nil || page.Calls[0].KeptFrom != cdrtest.Carol || page.Calls[0].Callee.Account != "" {
		t.Errorf("kept from somebody: %+v, %v", page, err)
	}
}

func TestCallsComeInPages(t *testing.T) {
	o := open(t)
	for i := range 7 {
		if err := o.calls.Write(t.Context(), cdrtest.Call(fmt.Sprint("c", i))); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for before, pages := 0, 0; pages == 0 || before != 0; pages++ {
		page, err := o.client.Calls(t.Context(), CallsQuery{Account: cdrtest.Alice, Limit: 3, Before: before})
		if err != nil || pages > 2 {
			t.Fatal(pages, err)
		}
		for _, c := range page.Calls {
			got = append(got, c.Call)
		}
		before = page.Next
	}
	if strings.Join(got, " ") != "c6 c5 c4 c3 c2 c1 c0" {
		t.Errorf("calls %v", got)
	}
}

// What cannot be asked for is refused, with the name of the parameter.
func TestCallsRefuses(t *testing.T) {
	o := open(t)
	for query, field := range map[string]string{
		"since=yesterday": "since", "since=-1h": "since", "until=1x": "until", "until=99999999999d": "until",
		"reason=merged": "reason", "path=host": "path", "limit=501": "limit", "limit=0": "limit",
		"before=0": "before", "call=a.b": "call", "account=x": "account", "region=" + strings.Repeat("x", 33): "region",
	} {
		resp, body := o.raw("GET", Base+"/calls?"+query, "", nil)
		if resp.StatusCode != http.StatusBadRequest || !strings.Contains(body, `"field":"`+field+`"`) {
			t.Errorf("%s: %d %s", query, resp.StatusCode, body)
		}
	}
	o.calls.Away(true)
	if _, err := o.client.Calls(t.Context(), CallsQuery{}); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("without the stream: %v", err)
	}
	o.api.deps.Calls = nil
	if _, err := o.client.Calls(t.Context(), CallsQuery{Account: directory.Account(cdrtest.Bob)}); protocol.CodeOf(err) != protocol.CodeUnsupported {
		t.Errorf("where none are kept: %v", err)
	}
}

// Every reason that a call can end for can be asked for.
func TestCallsByEveryReason(t *testing.T) {
	o := open(t)
	ofADevice := []protocol.Reason{protocol.ReasonAnsweredElsewhere, protocol.ReasonDeclinedElsewhere, protocol.ReasonMerged}
	for _, reason := range protocol.Reasons {
		_, err := o.client.Calls(t.Context(), CallsQuery{Reason: string(reason)})
		if refused := err != nil; refused != slices.Contains(ofADevice, reason) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
