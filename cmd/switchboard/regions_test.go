package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"

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

// TestGeoIPFile chooses regions by where devices connect from, as the proxy in
// front tells it.
func TestGeoIPFile(t *testing.T) {
	n := testNode(t, "{region: us, http: {trusted_proxies: [127.0.0.0/8]}, regions: {list: [{name: eu, countries: [DE]}, {name: us, countries: ['+1']}]}}")
	n.config.Regions.GeoIPFile = filepath.Join(t.TempDir(), "countries.mmdb")
	writeCountries(t, n.config.Regions.GeoIPFile, map[string]string{"192.0.2.0/24": "DE", "2001:db8::/32": "DE", "198.51.100.0/24": "JP"})
	p := start(t, n)
	token := register(t, p.Addrs, alice) // American
	for from, want := range map[string]string{"192.0.2.7": "eu", "2001:db8::7": "eu", "198.51.100.7": "us", "203.0.113.7": "us", "": "us"} {
		if got := welcomeFrom(t, p, token, from).Region; got != want {
			t.Errorf("from %q it belongs to %q, want %q", from, got, want)
		}
	}
	_, metrics := p.get(p.Ops, "/metrics")
	for _, want := range []string{
		`switchboard_regions_choices_total{here="no",reason="address"} 2`, `switchboard_regions_choices_total{here="yes",reason="number"} 3`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

// welcomeFrom connects as through a proxy.
func welcomeFrom(t *testing.T, p *process, token, from string) (w protocol.Welcome) {
	t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{protocol.Subprotocol}}
	ws, answer, err := dialer.Dial("ws://"+p.HTTP+protocol.SocketPath, http.Header{"X-Forwarded-For": {from}})
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	defer ws.Close()
	hello, err := protocol.Encode(protocol.Frame{}, &protocol.Hello{Token: token})
	if err == nil {
		err = ws.WriteMessage(websocket.TextMessage, hello)
	}
	if err != nil {
		t.Fatal(err)
	}
	_, raw, err := ws.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	f, err := protocol.DecodeFrame(raw)
	if err != nil || json.Unmarshal(f.D, &w) != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return w
}

// writeCountries writes a MaxMind DB.
func writeCountries(t *testing.T, file string, networks map[string]string) {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: "Test-Country", IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, iso := range networks {
		_, network, err := net.ParseCIDR(cidr)
		if err == nil {
			err = w.Insert(network, mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(iso)}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := w.WriteTo(f); err != nil {
		t.Fatal(err)
	}
}
