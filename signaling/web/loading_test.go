package web_test

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"switchboard/signaling/web"
)

// A page of which a script does not come, as when the network changes, is loaded again by
// itself, and says so when that does not help.
func TestPageThatDoesNotComeWhole(t *testing.T) {
	for _, test := range []struct {
		name         string
		broken, want int64 // how often a script does not come, and how often the page is asked for
		shows        string
	}{
		{"once", 1, 2, "number"},
		{"each time", 100, 5, "unloaded"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var pages, scripts atomic.Int64
			pageHandler := web.Handler()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/":
					pages.Add(1)
				case "/words.js": // which others import
					if scripts.Add(1) <= test.broken {
						w.Header().Set("Content-Length", "1000")
						_, _ = w.Write([]byte("export "))
						return // and the connection is closed
					}
				}
				pageHandler.ServeHTTP(w, r)
			}))
			t.Cleanup(server.Close)
			p := newPage(t, "page")
			p.open(server.URL)
			p.see(test.shows)
			if got := pages.Load(); got != test.want {
				t.Errorf("the page was asked for %d times, want %d", got, test.want)
			}
		})
	}
}
