package admin

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/directory"
	"switchboard/signaling/admin/admintest"
	"switchboard/signaling/cdr/cdrtest"
)

var update = flag.Bool("update", false, "write openapi.json")

// TestDocument keeps openapi.json, which people read, what the server serves.
func TestDocument(t *testing.T) {
	const file = "openapi.json"
	if *update {
		if err := os.WriteFile(file, Document(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), string(Document())); diff != "" {
		t.Errorf("%s is old; run go test ./signaling/admin -run TestDocument -update\n%s", file, diff)
	}
	o := open(t)
	if _, body := o.raw("GET", Base+descriptionPath, "", nil); body != string(text) {
		t.Error("the server serves another description")
	}
}

// TestEveryRouteIsDescribed holds the paths and methods that the server has
// against those of the description, both ways.
func TestEveryRouteIsDescribed(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Parameters  []struct{ Name, In string }
		}
	}
	if err := json.Unmarshal(Document(), &doc); err != nil {
		t.Fatal(err)
	}
	described, served := map[string]bool{}, map[string]bool{}
	ids := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			described[strings.ToUpper(method)+" "+path] = true
			if ids[o.OperationID] || o.OperationID == "" {
				t.Errorf("operation id %q is not one operation's", o.OperationID)
			}
			ids[o.OperationID] = true
			for _, p := range o.Parameters {
				if p.In == "path" && !strings.Contains(path, "{"+p.Name+"}") {
					t.Errorf("%s has no place for %s", path, p.Name)
				}
			}
			if strings.Count(path, "{") > len(o.Parameters) {
				t.Errorf("%s has places that are not described", path)
			}
		}
	}
	for path, methods := range open(t).api.routes {
		for method := range methods {
			served[method+" "+path] = true
		}
	}
	if diff := cmp.Diff(described, served); diff != "" {
		t.Errorf("described (-), served (+):\n%s", diff)
	}
}

// TestEveryOperation calls each operation and holds its answer, and those of
// some bad requests, against the description; the checker of the office does.
func TestEveryOperation(t *testing.T) {
	o := open(t)
	o.pushes.dead = deadPushesOf(o.account)
	if err := o.calls.Write(t.Context(), cdrtest.Call("c1")); err != nil {
		t.Fatal(err)
	}
	account := Base + "/accounts/" + string(o.account)
	for _, call := range []struct{ method, path, body string }{
		{"GET", Base + "/openapi.json", ""},
		{"POST", Base + "/numbers/lookup", `{"number":"` + alice + `"}`},
		{"GET", account, ""},
		{"GET", account + "/sessions", ""},
		{"DELETE", account + "/devices/1/session", ""},
		{"DELETE", account + "/devices/1", ""},
		{"GET", Base + "/nodes", ""},
		{"GET", Base + "/nodes/n2-b/sessions?limit=2&after=s1", ""},
		{"DELETE", Base + "/nodes/n2-b/sessions/s1", ""},
		{"POST", Base + "/nodes/self/drain", ""},
		{"POST", Base + "/nodes/self/undrain", ""},
		{"GET", Base + "/relays", ""},
		{"POST", Base + "/route", `{"caller":"` + alice + `","callee":"` + nobody + `","device":1,"call":"c1"}`},
		{"GET", Base + "/relay", ""},
		{"POST", Base + "/relay/drain", ""},
		{"POST", Base + "/relay/resume", ""},
		{"GET", Base + "/relay/data-path", ""},
		{"POST", Base + "/relay/data-path/auto", ""},
		{"GET", Base + "/calls?account=" + cdrtest.Bob + "&since=1h&until=2100-01-01T00:00:00%2B01:00&region=eu&reason=hangup&path=relay&limit=2", ""},
		{"GET", Base + "/pushes/dead?limit=2", ""},
		{"POST", Base + "/pushes/dead/1/retry", ""},
		{"DELETE", Base + "/pushes/dead/2", ""},
	} {
		if resp, body := o.raw(call.method, call.path, call.body, nil); resp.StatusCode != 200 {
			t.Errorf("%s %s: %d %s", call.method, call.path, resp.StatusCode, body)
		}
	}
	seen := o.checker.Seen()
	for _, id := range o.checker.Operations() {
		if !slices.Contains(seen, id+" 200") {
			t.Errorf("%s was not called", id)
		}
	}
	// With everything away, each is refused in a way that is described, too.
	o.fail, o.sessions.fail = directory.ErrUnavailable, directory.ErrUnavailable
	for _, c := range []string{"", "/sessions"} {
		o.raw("GET", account+c, "", nil)
	}
	o.raw("DELETE", account+"/devices/1", "", nil)
	o.raw("DELETE", account+"/devices/1/session", "", nil)
	o.raw("POST", Base+"/nodes/self/drain", "", nil)
	if after := len(o.checker.Seen()); after <= len(seen) {
		t.Errorf("no refusal was seen: %v", o.checker.Seen())
	}
}

// TestCheckerTells shows that the checker, on which the tests above rely, sees
// what it is for: the description is changed, and the same answer is wrong.
func TestCheckerTells(t *testing.T) {
	for name, change := range map[string]func(doc map[string]any){
		"a field that is not described": func(doc map[string]any) {
			delete(dig(doc, "components", "schemas", "Node", "properties"), "version")
		},
		"a field that is missing": func(doc map[string]any) {
			node := dig(doc, "components", "schemas", "Node")
			node["required"] = append(node["required"].([]any), "colour")
		},
		"a field of another type": func(doc map[string]any) {
			dig(doc, "components", "schemas", "Node", "properties")["region"] = map[string]any{"type": "integer"}
		},
		"a status that is not described": func(doc map[string]any) {
			delete(dig(doc, "paths", "/nodes", "get", "responses"), "200")
		},
		"an operation that is not described": func(doc map[string]any) {
			delete(dig(doc, "paths"), "/nodes")
		},
	} {
		o := open(t)
		var doc map[string]any
		if err := json.Unmarshal(Document(), &doc); err != nil {
			t.Fatal(err)
		}
		change(doc)
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		var told recorder
		told.TB = t
		c := admintest.NewChecker(&told, text, &http.Transport{DisableKeepAlives: true})
		o.client.HTTP = &http.Client{Transport: c}
		if _, err := o.client.Nodes(t.Context()); err != nil {
			t.Fatal(err)
		}
		if told.errors == 0 {
			t.Errorf("%s is not told", name)
		}
	}
}

// recorder notes what would fail a test.
type recorder struct {
	testing.TB
	errors int
	last   string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors++
	r.last = fmt.Sprintf(format, args...)
}

// dig returns an object inside objects.
func dig(doc map[string]any, path ...string) map[string]any {
	for _, p := range path {
		next, ok := doc[p].(map[string]any)
		if !ok {
			panic(fmt.Sprintf("no %s in %v", p, slices.Sorted(maps.Keys(doc))))
		}
		doc = next
	}
	return doc
}
