package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"switchboard/signaling/protocol"
	"switchboard/signaling/region"
)

func TestRegionOfTheNode(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"no regions", "region: moon", ""},
		{"one of them", "{region: eu, regions: {list: [{name: eu}, {name: us}]}}", ""},
		{"none of them", "{region: moon, regions: {list: [{name: eu}, {name: us}]}}", `region: "moon" is none of those in regions.list`},
		{"a relay alone", "{region: moon, roles: [relay], regions: {list: [{name: eu}]}}", ""},
		{"a wrong country", "{region: eu, regions: {list: [{name: eu, countries: [UK]}]}}", `regions.list[0].countries: "UK" is neither`},
		{"a wrong default", "{region: eu, regions: {list: [{name: eu}], default: us}}", `regions.default: "us" is none of the regions`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := Default()
			if err := decode(&c, []byte(test.text)); err != nil {
				t.Fatal(err)
			}
			if err := c.Validate(); test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestBrokenGeoIPFile keeps the process from starting, and says which key is
// wrong.
func TestBrokenGeoIPFile(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.mmdb")
	if err := os.WriteFile(broken, []byte("not a database"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{broken, broken + ".missing"} {
		n := testNode(t, "")
		n.config.Region, n.config.Regions = "eu", region.Config{List: []region.Region{{Name: "eu"}}, GeoIPFile: file}
		if err := n.serve(t.Context()); err == nil || !strings.HasPrefix(err.Error(), "regions.geoip_file: ") || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", filepath.Base(file), err)
		}
	}
}

func TestSocketURL(t *testing.T) {
	for public, want := range map[string]string{
		"": "", "https://a.example": "wss://a.example", "https://a.example:8443/": "wss://a.example:8443", "http://127.0.0.1:1": "ws://127.0.0.1:1",
		"ftp://a.example": "", "https://a.example/path": "", "https://": "", "https://user@a.example": "", "a.example": "",
	} {
		if got := socketURL(public); got != want {
			t.Errorf("socketURL(%q) = %q, want %q", public, got, want)
		}
	}
}

// TestPingIsThere is what clients measure round trips with.
func TestPingIsThere(t *testing.T) {
	p := start(t, testNode(t, ""))
	if status, body := p.get(p.HTTP, protocol.PathPing); status != http.StatusNoContent || body != "" {
		t.Errorf("got %d %q", status, body)
	}
}
