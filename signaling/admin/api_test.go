package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"switchboard/directory"
	"switchboard/signaling/protocol"
)

func TestLookup(t *testing.T) {
	o := open(t)
	for _, q := range []lookupRequest{{Number: alice}, {Number: "(415) 555-0101", Region: "US"}} {
		a, err := o.client.Lookup(t.Context(), q.Number, q.Region)
		if err != nil {
			t.Fatal(err)
		}
		if a.Account != o.account || a.Number.E164() != alice || !a.Online || len(a.Devices) != 1 {
			t.Fatalf("account %+v", a)
		}
		if a.Settings != (Settings{LastSeen: "contacts", Discoverable: "everyone", ReadReceipts: "everyone", Relayed: "strangers"}) {
			t.Errorf("settings %+v", a.Settings)
		}
		if a.Contacts != 1 || a.Blocks != 0 {
			t.Errorf("%d contacts, %d blocks", a.Contacts, a.Blocks)
		}
		d := a.Devices[0]
		if d.Name != "Alice's phone" || d.Waiting != 3 || d.Session == nil {
			t.Fatalf("device %+v", d)
		}
		if s := *d.Session; s.Session != "s5" || s.Node != "n2-b" || s.NodeName != "n2" || s.State != "connected" || s.Remote != "192.0.2.7" {
			t.Errorf("session %+v", s)
		}
	}
	if same, err := o.client.Account(t.Context(), o.account); err != nil || same.Number.E164() != alice {
		t.Errorf("by account: %+v, %v", same, err)
	}
	for q, want := range map[lookupRequest]protocol.Code{
		{Number: nobody}:                  protocol.CodeNotFound,
		{Number: "12"}:                    protocol.CodeNumber,
		{Number: "(415) 555-0101"}:        protocol.CodeNumber,
		{Number: ""}:                      protocol.CodeInvalid,
		{Number: alice, Region: "us"}:     protocol.CodeInvalid,
		{Number: strings.Repeat("1", 65)}: protocol.CodeInvalid,
	} {
		_, err := o.client.Lookup(t.Context(), q.Number, q.Region)
		if got := protocol.CodeOf(err); got != want {
			t.Errorf("looking up %+v: %v, want %v", q, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "555") {
			t.Errorf("an error repeats the number: %v", err)
		}
	}
	o.fail = directory.ErrUnavailable
	if _, err := o.client.Lookup(t.Context(), alice, ""); protocol.CodeOf(err) != protocol.CodeUnavailable {
		t.Errorf("without mailboxes: %v", err)
	}
}

// A node that does not answer keeps nobody from seeing that the device is bound
// there.
func TestSessionOfSilentNode(t *testing.T) {
	o := open(t)
	o.sessions.fail = directory.ErrUnavailable
	s, err := o.client.AccountSessions(t.Context(), o.account)
	if err != nil || len(s.Sessions) != 1 || s.Sessions[0].State != "unknown" || s.Sessions[0].Node != "n2-b" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestNodeSessions(t *testing.T) {
	o := open(t)
	var got []string
	for after := ""; ; {
		p, err := o.client.NodeSessions(t.Context(), "n2-b", after, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.Sessions {
			got = append(got, s.Session)
		}
		if after = p.Next; after == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[s0 s1 s2 s3 s4 s5 s6]" {
		t.Errorf("page by page: %v", got)
	}
	if p, err := o.client.NodeSessions(t.Context(), "self", "", 0); err != nil || len(p.Sessions) != 0 {
		t.Errorf("of the node itself: %+v, %v", p, err)
	}
	lively := o.nodes
	o.nodes = nil // the node has lost its lease
	if _, err := o.client.NodeSessions(t.Context(), "self", "", 0); err != nil {
		t.Errorf("of the node itself, without a lease: %v", err)
	}
	o.nodes = lively
	for path, want := range map[string]string{
		"/nodes/n2/sessions":                                    "conflict",  // which of the two
		"/nodes/n9/sessions":                                    "not_found", // no such
		"/nodes/self/sessions?limit=0":                          "invalid",
		"/nodes/self/sessions?limit=501":                        "invalid",
		"/nodes/self/sessions?limit=x":                          "invalid",
		"/nodes/self/sessions?limit=1&limit=2":                  "invalid",
		"/nodes/self/sessions?limti=1":                          "invalid",
		"/nodes/self/sessions?after=" + strings.Repeat("x", 65): "invalid",
		"/nodes/" + strings.Repeat("x", 97) + "/sessions":       "invalid",
	} {
		if _, body := o.raw("GET", Base+path, "", nil); !strings.Contains(body, `"code":"`+want+`"`) {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
}

func TestChanges(t *testing.T) {
	o := open(t)
	ctx := t.Context()
	if err := o.client.EndSession(ctx, o.account, 1); err != nil || len(o.sessions.ended) != 1 {
		t.Errorf("end session: %v", err)
	}
	if err := o.client.EndSession(ctx, o.account, 2); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("ending a session that is not there: %v", err)
	}
	if err := o.client.EndNodeSession(ctx, "n2-b", "s1"); err != nil {
		t.Errorf("end session by name: %v", err)
	}
	for node, want := range map[string]protocol.Code{"n2-c": protocol.CodeNotFound, "n3": protocol.CodeNotFound, "n2": protocol.CodeConflict} {
		if err := o.client.EndNodeSession(ctx, node, "s1"); protocol.CodeOf(err) != want {
			t.Errorf("ending a session of %s: %v, want %v", node, err, want)
		}
	}
	if err := o.client.EndNodeSession(ctx, "self", "S-1"); protocol.CodeOf(err) != protocol.CodeInvalid {
		t.Errorf("ending what cannot be a session: %v", err)
	}
	if err := o.client.RemoveDevice(ctx, o.account, 1); err != nil || len(o.removed) != 1 {
		t.Errorf("remove device: %v", err)
	}
	if err := o.client.RemoveDevice(ctx, o.account, 7); protocol.CodeOf(err) != protocol.CodeNotFound || len(o.removed) != 1 {
		t.Errorf("removing a device that is not there: %v", err)
	}
	for _, on := range []bool{true, false} {
		d, err := o.client.Drain(ctx, "n1", on)
		if err != nil || d.Incarnation != "n1-a" || d.Draining != on || o.sessions.drained["n1-a"] != on {
			t.Errorf("drain %v: %+v, %v", on, d, err)
		}
	}
	if _, err := o.client.Drain(ctx, "n2", true); protocol.CodeOf(err) != protocol.CodeConflict {
		t.Errorf("draining one of two: %v", err)
	}
	o.sessions.fail = fmt.Errorf("drain: %w", directory.ErrGone)
	if _, err := o.client.Drain(ctx, "n2-b", true); protocol.CodeOf(err) != protocol.CodeNotFound {
		t.Errorf("draining a node that has just gone: %v", err)
	}
	o.sessions.fail = directory.ErrUnavailable
	if _, err := o.client.Drain(ctx, "n2-b", true); protocol.CodeOf(err) != protocol.CodeUnavailable || !strings.Contains(err.Error(), "happen yet") {
		t.Errorf("draining a node that does not answer: %v", err)
	}
	for _, want := range []string{
		`"change":"endSession","by":"ann","remote":"127.0.0.1","result":"ok","account":"` + string(o.account) + `","device":"1"`,
		`"change":"endSession","by":"ann","remote":"127.0.0.1","result":"not_found"`,
		`"change":"removeDevice","by":"ann"`, `"change":"drain","by":"ann"`, `"change":"undrain","by":"ann"`,
		`"change":"drain","by":"ann","remote":"127.0.0.1","result":"conflict","node":"n2"`,
	} {
		if !strings.Contains(o.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, o.log)
		}
	}
	if n := strings.Count(o.log.String(), "operator's change"); n != 14 {
		t.Errorf("%d lines of audit, want 14", n)
	}
}

func TestFaults(t *testing.T) {
	o := open(t)
	for _, test := range []struct {
		cause error
		want  protocol.Code
	}{
		{directory.ErrUnavailable, protocol.CodeUnavailable},
		{context.DeadlineExceeded, protocol.CodeUnavailable},
		{&directory.RecordError{Record: "device", Field: "name", Why: "is too long"}, protocol.CodeInternal},
		{errors.New("something secret"), protocol.CodeInternal},
	} {
		o.fail = test.cause
		_, err := o.client.Account(t.Context(), o.account)
		if protocol.CodeOf(err) != test.want || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v is answered %v", test.cause, err)
		}
	}
	if !strings.Contains(o.log.String(), "something secret") {
		t.Error("the cause is not in the log")
	}
}

func TestWhoMayAsk(t *testing.T) {
	o := open(t)
	for name, header := range map[string]string{
		"none": "", "other": "Bearer " + strings.Repeat("0", 32), "part": "Bearer " + goodKey[:31],
		"more": "Bearer " + goodKey + "0", "basic": "Basic " + goodKey, "bare": goodKey, "name": "Bearer ann", "empty": "Bearer ",
	} {
		for _, path := range []string{Base + "/nodes", Base + descriptionPath, Base + "/nothing", "/"} {
			resp, body := o.raw("GET", path, "", func(r *http.Request) { r.Header.Set("Authorization", header) })
			if resp.StatusCode != http.StatusUnauthorized || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") || !strings.Contains(body, `"bad_token"`) {
				t.Errorf("token %s at %s: %d %s", name, path, resp.StatusCode, body)
			}
		}
	}
	if resp, _ := o.raw("POST", Base+"/nodes/self/drain", "", func(r *http.Request) { r.Header.Del("Authorization") }); resp.StatusCode != http.StatusUnauthorized || o.sessions.drained != nil {
		t.Error("a stranger drained a node")
	}
}

func TestBadRequests(t *testing.T) {
	o := open(t)
	lookup := Base + "/numbers/lookup"
	for name, test := range map[string]struct {
		method, path, body string
		status             int
		want               string
	}{
		"no such path":       {"GET", Base + "/nothing", "", 404, "unsupported"},
		"other version":      {"GET", "/admin/v2/nodes", "", 404, "unsupported"},
		"other method":       {"PUT", Base + "/nodes", "", 405, "unsupported"},
		"no body":            {"POST", lookup, "", 400, "malformed"},
		"not JSON":           {"POST", lookup, "number", 400, "malformed"},
		"a list":             {"POST", lookup, "[]", 400, "malformed"},
		"null":               {"POST", lookup, "null", 400, "malformed"},
		"other type":         {"POST", lookup, `{"number":1}`, 400, "invalid"},
		"null for a text":    {"POST", lookup, `{"number":null}`, 400, "invalid"},
		"other letters":      {"POST", lookup, `{"Number":"+1"}`, 400, "invalid"},
		"other field":        {"POST", lookup, `{"number":"+1","numbers":[]}`, 400, "invalid"},
		"two objects":        {"POST", lookup, `{"number":"+1"}{}`, 400, "malformed"},
		"cut short":          {"POST", lookup, `{"number":"+1`, 400, "malformed"},
		"huge":               {"POST", lookup, `{"number":"` + strings.Repeat("1", maxBody) + `"}`, 413, "too_large"},
		"account's form":     {"GET", Base + "/accounts/ALICE", "", 400, "invalid"},
		"account's length":   {"GET", Base + "/accounts/000000000000", "", 400, "invalid"},
		"no such account":    {"GET", Base + "/accounts/vvvvvvvvvvvvv", "", 404, "not_found"},
		"its sessions":       {"GET", Base + "/accounts/vvvvvvvvvvvvv/sessions", "", 404, "not_found"},
		"escaped":            {"GET", Base + "/accounts/..%2F..%2Fnodes", "", 404, "unsupported"},
		"device's form":      {"DELETE", Base + "/accounts/0000000000001/devices/one", "", 400, "invalid"},
		"device zero":        {"DELETE", Base + "/accounts/0000000000001/devices/0", "", 400, "invalid"},
		"device too large":   {"DELETE", Base + "/accounts/0000000000001/devices/4294967296", "", 400, "invalid"},
		"device below":       {"DELETE", Base + "/accounts/0000000000001/devices/-1", "", 400, "invalid"},
		"query where none":   {"GET", Base + "/nodes?x=1", "", 400, "invalid"},
		"a huge node's name": {"POST", Base + "/nodes/" + strings.Repeat("x", 5000) + "/drain", "", 400, "invalid"},
	} {
		resp, body := o.raw(test.method, test.path, test.body, nil)
		if resp.StatusCode != test.status || !strings.Contains(body, `"code":"`+test.want+`"`) {
			t.Errorf("%s: %d %s, want %d %s", name, resp.StatusCode, body, test.status, test.want)
		}
		if resp.StatusCode == 405 && resp.Header.Get("Allow") != "GET" {
			t.Errorf("%s: Allow %q", name, resp.Header.Get("Allow"))
		}
	}
	if resp, _ := o.raw("POST", lookup, `{"number":"+1"}`, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }); resp.StatusCode != 400 {
		t.Errorf("a body of another type: %d", resp.StatusCode)
	}
	if len(o.sessions.drained)+len(o.removed)+len(o.sessions.ended) > 0 {
		t.Error("a bad request changed something")
	}
	if len(o.log.String()) > 8<<10 {
		t.Errorf("bad requests fill the log: %d bytes", len(o.log.String()))
	}
}

// Too many at a time are told to come back.
func TestManyAtOnce(t *testing.T) {
	o := open(t)
	hold, entered := make(chan struct{}), make(chan struct{}, maxAtOnce)
	o.listing = func() { entered <- struct{}{}; <-hold }
	done := make(chan error, maxAtOnce)
	for range maxAtOnce {
		go func() {
			_, err := o.client.Nodes(context.Background())
			done <- err
		}()
	}
	for range maxAtOnce {
		<-entered
	}
	resp, _ := o.raw("GET", Base+"/nodes", "", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("one too many is answered %d", resp.StatusCode)
	}
	close(hold)
	for range maxAtOnce {
		if err := <-done; err != nil {
			t.Errorf("one of those before: %v", err)
		}
	}
}
