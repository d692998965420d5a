package admin

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"switchboard/signaling/admin/admintest"
)

// inProcess carries requests to a handler without a network.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Result(), nil
}

// FuzzRequest sends whatever it finds. Nothing is a fault of the server, all is
// answered as the description says, and what is taken fits it.
func FuzzRequest(f *testing.F) {
	for _, seed := range [][3]string{
		{"POST", "/numbers/lookup", `{"number":"+1 415 555 0101","region":"US"}`},
		{"POST", "/numbers/lookup", `{"number":"(415) 555-0101","region":"us","x":null}`},
		{"POST", "/numbers/lookup", `{"Number":"` + alice + `","number":null}`},
		{"GET", "/accounts/0000000000001", ""},
		{"GET", "/accounts/%2e%2e/sessions", ""},
		{"GET", "/accounts//sessions", ""},
		{"DELETE", "/accounts/0000000000001/devices/1/session", ""},
		{"DELETE", "/accounts/0000000000001/devices/+1", ""},
		{"DELETE", "/accounts/0000000000001/devices/01", ""},
		{"GET", "/nodes/self/sessions?limit=500&after=s1", ""},
		{"GET", "/nodes/self/sessions?limit=%31;x", ""},
		{"GET", "/calls?since=7d&until=%2B1h&limit=1", ""},
		{"GET", "/calls?before=2&reason=hangup&call=c_1-&path=none", ""},
		{"POST", "/nodes/n2/drain", "{}"},
		{"PATCH", "/relays", "\xff"},
		{"POST", "/route", `{"caller":"` + alice + `","callee":"` + nobody + `","device":2,"call":"a b"}`},
		{"POST", "/route", `{"caller":"555","callee":"","region":"US"}`},
		{"POST", "/relay/drain", ""},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	o := open(f)
	told := &recorder{TB: f}
	checker := admintest.NewChecker(told, Document(), inProcess{o.api})
	f.Fuzz(func(t *testing.T, method, path, body string) {
		u, err := url.Parse(Base + path)
		if err != nil || u.Host != "" {
			t.Skip()
		}
		r, err := http.NewRequestWithContext(t.Context(), method, "http://admin", strings.NewReader(body))
		if err != nil {
			t.Skip()
		}
		r.URL.Path, r.URL.RawPath, r.URL.RawQuery = u.Path, u.RawPath, u.RawQuery
		r.Header.Set("Authorization", "Bearer "+goodKey)
		r.Header.Set("Content-Type", "application/json")
		before := told.errors
		resp, err := checker.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if told.errors > before {
			t.Error(told.last)
		}
		if resp.Body.Close(); resp.StatusCode >= 500 {
			t.Errorf("%s %s %q: %d", method, path, body, resp.StatusCode)
		}
	})
}
