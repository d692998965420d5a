package auth_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"switchboard/signaling/auth"
	"switchboard/signaling/protocol"
)

func TestRequestsThatAreNone(t *testing.T) {
	n := newNode(t, nil)
	for _, c := range []struct {
		name, method, path, kind, body string
		status                         int
		code                           protocol.Code
	}{
		{"GET", "GET", protocol.PathRegister, "", "", 405, protocol.CodeUnsupported},
		{"PUT", "PUT", protocol.PathRevoke, "", "", 405, protocol.CodeUnsupported},
		{"another path", "POST", "/v1/register/more", "", "", 404, protocol.CodeUnsupported},
		{"no type", "POST", protocol.PathRegister, "", `{"number":"+14155550101"}`, 400, protocol.CodeMalformed},
		{"a form", "POST", protocol.PathRegister, "text/plain", `{"number":"+14155550101"}`, 400, protocol.CodeMalformed},
		{"empty", "POST", protocol.PathRegister, "application/json", "", 400, protocol.CodeMalformed},
		{"no JSON", "POST", protocol.PathRegister, "application/json", "number=1", 400, protocol.CodeMalformed},
		{"null", "POST", protocol.PathRegister, "application/json", "null", 400, protocol.CodeMalformed},
		{"an array", "POST", protocol.PathRegister, "application/json", "[]", 400, protocol.CodeMalformed},
		{"two objects", "POST", protocol.PathRegister, "application/json", `{"number":"+14155550101"}{}`, 400, protocol.CodeMalformed},
		{"a wrong type", "POST", protocol.PathRegister, "application/json", `{"number":14155550101}`, 400, protocol.CodeMalformed},
		{"too large", "POST", protocol.PathRegister, "application/json", `{"number":"` + strings.Repeat("1", 8<<10) + `"}`, 413, protocol.CodeTooLarge},
		{"a long number", "POST", protocol.PathRegister, "application/json", `{"number":"` + strings.Repeat("1", 4<<10) + `"}`, 422, protocol.CodeNumber},
		{"no token", "POST", protocol.PathRefresh, "", "", 401, protocol.CodeToken},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			if c.kind != "" {
				r.Header.Set("Content-Type", c.kind)
			}
			w := httptest.NewRecorder()
			n.handler.ServeHTTP(w, r)
			if e := errorIn(t, w); w.Code != c.status || e.Code != c.code {
				t.Errorf("got %d %s, want %d %s", w.Code, e.Code, c.status, c.code)
			}
			if (w.Header().Get("Allow") == "POST") != (c.status == 405) {
				t.Errorf("Allow is %q", w.Header().Get("Allow"))
			}
		})
	}
	if n.sender.len() != 0 {
		t.Error("a code was sent")
	}
}

func TestRequestsAreRead(t *testing.T) {
	n := newNode(t, nil)
	r := httptest.NewRequest("POST", protocol.PathRegister, strings.NewReader(" {\"number\":\"+14155550101\",\"later\":[1]}\n"))
	r.Header.Set("Content-Type", "Application/JSON; charset=utf-8")
	w := httptest.NewRecorder()
	n.handler.ServeHTTP(w, r)
	if w.Code != http.StatusOK || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestBearer(t *testing.T) {
	n := newNode(t, nil)
	d := n.device(alice)
	for header, status := range map[string]int{
		"": 401, "Bearer": 401, "Bearer ": 401, d.Token: 401, "Basic " + d.Token: 401, "bearer " + d.Token: 204,
	} {
		r := httptest.NewRequest("POST", protocol.PathRevoke, nil)
		r.Header.Set("Authorization", header)
		w := httptest.NewRecorder()
		n.handler.ServeHTTP(w, r)
		if w.Code != status {
			t.Errorf("%.10q…: got %d, want %d", header, w.Code, status)
		}
	}
}

func TestOtherOrigins(t *testing.T) {
	n := newNode(t, nil)
	for origin, allowed := range map[string]bool{
		"https://phone.example": true, "http://example.com": true, // the node's own, as httptest has it
		"https://evil.example": false, "null": false,
	} {
		for _, method := range []string{"OPTIONS", "POST"} {
			r := httptest.NewRequest(method, protocol.PathRegister, strings.NewReader(`{"number":"x"}`))
			r.Header.Set("Origin", origin)
			w := httptest.NewRecorder()
			n.handler.ServeHTTP(w, r)
			got := w.Header().Get("Access-Control-Allow-Origin")
			if (got == origin) != allowed || !allowed && got != "" || w.Header().Get("Vary") != "Origin" {
				t.Errorf("%s %s: allowed %q", method, origin, got)
			}
			if method == "OPTIONS" && (w.Code != http.StatusNoContent || (w.Header().Get("Access-Control-Allow-Methods") == "POST") != allowed) {
				t.Errorf("%s: preflight %d %v", origin, w.Code, w.Header())
			}
		}
	}
}

func TestSourceOf(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:1":                "192.0.2.1/32",
		"[::ffff:192.0.2.1]:1":       "192.0.2.1/32",
		"[2001:db8:1:2fe:3:4:5:6]:1": "2001:db8:1:200::/56",
		"[fe80::1%eth0]:1":           "fe80::/56",
		"pipe":                       "invalid Prefix",
		"":                           "invalid Prefix",
	} {
		if got := auth.SourceOf(remote); got != want {
			t.Errorf("%q counts as %s, want %s", remote, got, want)
		}
	}
}
