package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"switchboard/signaling/protocol"
	"switchboard/signaling/web"
)

func get(t *testing.T, path string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, r)
	return w.Result()
}

func TestHandlerServesEverything(t *testing.T) {
	entries, err := os.ReadDir("demo")
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{"/", web.SDKPath}
	for _, e := range entries {
		paths = append(paths, "/"+e.Name())
	}
	for _, path := range paths {
		t.Run(path, func(t *testing.T) {
			res := get(t, path)
			if res.StatusCode != http.StatusOK {
				t.Fatalf("status %d", res.StatusCode)
			}
			for name, want := range map[string]string{
				"Cache-Control":           "no-cache",
				"X-Content-Type-Options":  "nosniff",
				"Content-Security-Policy": "default-src 'none'",
				"Permissions-Policy":      "camera=(self), microphone=(self)",
			} {
				if got := res.Header.Get(name); !strings.HasPrefix(got, want) {
					t.Errorf("%s: got %q, want %q…", name, got, want)
				}
			}
			if got, want := res.Header.Get("Content-Type"), wantType(path); got != want {
				t.Errorf("Content-Type: got %q, want %q", got, want)
			}
			again := get(t, path, "If-None-Match", res.Header.Get("ETag"))
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("with the ETag: status %d, want 304", again.StatusCode)
			}
		})
	}
}

func wantType(path string) string {
	switch {
	case strings.HasSuffix(path, ".js"):
		return "text/javascript; charset=utf-8"
	case strings.HasSuffix(path, ".css"):
		return "text/css; charset=utf-8"
	case strings.HasSuffix(path, ".svg"):
		return "image/svg+xml"
	case strings.HasSuffix(path, ".json"):
		return "application/manifest+json"
	}
	return "text/html; charset=utf-8"
}

func TestHandlerRefuses(t *testing.T) {
	if got := get(t, "/nothing").StatusCode; got != http.StatusNotFound {
		t.Errorf("unknown path: status %d", got)
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}

func TestSDKMayBeImportedFromAnywhere(t *testing.T) {
	if got := get(t, web.SDKPath).Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("Access-Control-Allow-Origin: %q", got)
	}
	if got := get(t, "/").Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("the page: Access-Control-Allow-Origin: %q", got)
	}
}

// The page's policy forbids what is written inline, so none may be.
func TestPageHasNothingInline(t *testing.T) {
	page := read(t, "demo/index.html")
	for _, re := range []string{`<script[^>]*>[^<]`, `<style`, `\sstyle=`, `\son[a-z]+=`, `javascript:`, `https?://[^w]`} {
		if m := regexp.MustCompile(re).FindString(page); m != "" {
			t.Errorf("index.html has %q", m)
		}
	}
}

func TestSDKKnowsTheProtocol(t *testing.T) {
	type message struct {
		From     string `json:"from"`
		Reliable bool   `json:"reliable"`
		Reply    bool   `json:"reply"`
	}
	want := map[string]message{}
	origins := map[protocol.Origin]string{protocol.Client: "client", protocol.Server: "server", protocol.Client | protocol.Server: "both"}
	for _, s := range protocol.Catalog {
		want[string(s.Type)] = message{origins[s.From], s.Reliable, s.Reply != nil && s.Reply() != nil}
	}
	compare(t, "TYPES", want)
}

func TestSDKKnowsTheCodes(t *testing.T) {
	closes := map[string]string{}
	for _, c := range protocol.CloseCodes {
		closes[strconv.Itoa(int(c.Code))] = c.Name
	}
	compare(t, "CLOSE_CODES", closes)

	type code struct {
		Cat   string `json:"cat"`
		Retry bool   `json:"retry"`
	}
	codes := map[string]code{}
	for _, c := range protocol.Codes {
		codes[string(c.Code)] = code{string(c.Category), c.Retry}
	}
	compare(t, "ERROR_CODES", codes)
	compare(t, "REASONS", protocol.Reasons)
	compare(t, "STATES", []protocol.State{protocol.Trying, protocol.Ringing, protocol.Connecting, protocol.Active, protocol.Reconnecting, protocol.Ended})
	compare(t, "KINDS", []protocol.Kind{protocol.KindMessage, protocol.KindDelivered, protocol.KindRead, protocol.KindCall})
}

func TestSDKNamesTheSocket(t *testing.T) {
	for name, want := range map[string]string{"SUBPROTOCOL": protocol.Subprotocol, "SOCKET_PATH": protocol.SocketPath} {
		if !strings.Contains(read(t, "switchboard.js"), "export const "+name+" = '"+want+"'") {
			t.Errorf("%s is not %q", name, want)
		}
	}
	for _, path := range []string{protocol.PathRegister, protocol.PathConfirm, protocol.PathRefresh, protocol.PathRevoke} {
		if !strings.Contains(read(t, "switchboard.js"), "'"+path+"'") {
			t.Errorf("nothing is posted to %s", path)
		}
	}
}

// What the server may send, the SDK has a place for; what a device may send, the
// SDK does send somewhere.
func TestSDKHandlesEveryMessage(t *testing.T) {
	// Not yet: the SDK hangs up, which cancels and cannot come too late.
	unsent := map[protocol.Type]bool{protocol.TypeCallCancel: true}
	js := read(t, "switchboard.js")
	body := js[strings.Index(js, "export class SwitchboardError"):]
	for _, s := range protocol.Catalog {
		if !unsent[s.Type] && !strings.Contains(body, "'"+string(s.Type)+"'") {
			t.Errorf("%s is never named", s.Type)
		}
	}
}

func TestDemoHasWordsForEverything(t *testing.T) {
	words := read(t, "demo/words.js")
	for _, r := range protocol.Reasons {
		if !regexp.MustCompile(`\b` + string(r) + `:`).MatchString(words) {
			t.Errorf("no words for the reason %s", r)
		}
	}
	for _, c := range protocol.Codes {
		if !regexp.MustCompile(`\b` + string(c.Code) + `:`).MatchString(words) {
			t.Errorf("no words for the error %s", c.Code)
		}
	}
	for _, c := range protocol.CloseCodes {
		if !c.Code.Reconnect() && !regexp.MustCompile(`\b`+c.Name+`:`).MatchString(words) {
			t.Errorf("no words for the close code %s", c.Name)
		}
	}
}

// compare reads the table name out of the SDK's source, where it is written as
// JSON, and compares it with what the server has.
func compare[T any](t *testing.T, name string, want T) {
	t.Helper()
	re := regexp.MustCompile(`(?s)export const ` + name + ` = freeze\((.*?)\)\n`)
	m := re.FindStringSubmatch(read(t, "switchboard.js"))
	if m == nil {
		t.Fatalf("no table %s", name)
	}
	var got T
	if err := json.Unmarshal([]byte(m[1]), &got); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the protocol (-), the SDK (+):\n%s", name, diff)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
