package region

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// database is a MaxMind DB with one record for each network.
func database(t testing.TB, kind string, networks map[string]mmdbtype.Map) []byte {
	t.Helper()
	w, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, RecordSize: 24, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for cidr, record := range networks {
		_, network, err := net.ParseCIDR(cidr)
		if err == nil {
			err = w.Insert(network, record)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if _, err := w.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func in(iso string) mmdbtype.Map {
	return mmdbtype.Map{"country": mmdbtype.Map{"iso_code": mmdbtype.String(iso)}, "city": mmdbtype.Map{"geoname_id": mmdbtype.Uint32(1)}}
}

func registeredIn(iso string) mmdbtype.Map {
	return mmdbtype.Map{"registered_country": mmdbtype.Map{"iso_code": mmdbtype.String(iso)}}
}

var countries = map[string]mmdbtype.Map{
	"192.0.2.0/24": in("DE"), "198.51.100.0/24": in("US"), "2001:db8::/32": in("FR"), "203.0.113.0/24": registeredIn("CA"),
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func openGeoIP(t *testing.T, data []byte, log *slog.Logger) (*GeoIP, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "geo.mmdb")
	write(t, file, data)
	return OpenGeoIP(file, log)
}

func TestCountry(t *testing.T) {
	g, err := openGeoIP(t, database(t, "Test-City", countries), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"192.0.2.7": "DE", "::ffff:192.0.2.7": "DE", "198.51.100.255": "US", "2001:db8::1": "FR", "2001:db8::1%eth0": "FR",
		"203.0.113.9": "CA", "127.0.0.1": "", "10.0.0.1": "", "::1": "", "2001:db9::1": "",
	} {
		if got := g.Country(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
	if got := g.Country(netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

// TestBrokenGeoIP refuses each file with the key's name.
func TestBrokenGeoIP(t *testing.T) {
	good := database(t, "Test-Country", countries)
	for name, data := range map[string][]byte{
		"empty":     {},
		"text":      []byte("not a database\n"),
		"cut short": good[:len(good)/3],
		"no tree":   good[len(good)-200:],
		"something else": database(t, "Test-ASN", map[string]mmdbtype.Map{
			"192.0.2.0/24": {"autonomous_system_number": mmdbtype.Uint32(64496)},
		}),
		"country of another shape": database(t, "Other", map[string]mmdbtype.Map{"192.0.2.0/24": {"country": mmdbtype.Map{"iso_code": mmdbtype.Uint32(49)}}}),
		"nobody":                   database(t, "Test-Country", nil),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := openGeoIP(t, data, nil); err == nil || !strings.HasPrefix(err.Error(), "regions.geoip_file: ") {
				t.Errorf("got %v", err)
			}
		})
	}
	if _, err := OpenGeoIP(filepath.Join(t.TempDir(), "missing.mmdb"), nil); err == nil || !strings.HasPrefix(err.Error(), "regions.geoip_file: ") {
		t.Errorf("missing: %v", err)
	}
}

// TestGeoIPIsReadAgain renews the file, well and badly.
func TestGeoIPIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		g, err := openGeoIP(t, database(t, "Test-Country", countries), slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- g.Run(t.Context()) }()
		address := netip.MustParseAddr("192.0.2.7")
		expect := func(when, want string) {
			t.Helper()
			time.Sleep(2 * geoIPCheck)
			synctest.Wait()
			if got := g.Country(address); got != want {
				t.Errorf("%s: %q, want %q", when, got, want)
			}
		}
		expect("untouched", "DE")
		write(t, g.file, database(t, "Test-Country", map[string]mmdbtype.Map{"192.0.2.0/24": in("NL"), "198.51.100.0/22": in("BE")}))
		expect("renewed", "NL")
		write(t, g.file, []byte("half a file"))
		expect("broken", "NL")
		expect("still broken", "NL")
		if n := strings.Count(log.String(), "not read again"); n != 1 {
			t.Errorf("told %d times that it is broken, want once:\n%s", n, log.String())
		}
		if err := os.Remove(g.file); err != nil {
			t.Fatal(err)
		}
		expect("away", "NL")
		write(t, g.file, database(t, "Test-Country", countries))
		expect("good again", "DE")
	})
}

// FuzzGeoIP reads damaged files: they are refused, or know something or nothing.
func FuzzGeoIP(f *testing.F) {
	f.Add(database(f, "Test-Country", countries))
	f.Add([]byte("\xab\xcd\xefMaxMind.com"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := openGeoIP(t, data, nil)
		if err != nil {
			return
		}
		for _, address := range []string{"192.0.2.7", "2001:db8::1", "0.0.0.0", "ffff::"} {
			g.Country(netip.MustParseAddr(address))
		}
	})
}
