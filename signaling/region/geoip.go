package region

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// GeoIP tells the countries of addresses. Its methods may be called
// concurrently.
type GeoIP struct {
	file   string
	log    *slog.Logger
	reader atomic.Pointer[maxminddb.Reader]
	read   stamp // owned by Run, once it runs
}

// stamp tells one version of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

// OpenGeoIP reads a MaxMind DB of countries or cities. The error names the
// key, and what is wrong with the file.
func OpenGeoIP(file string, log *slog.Logger) (*GeoIP, error) {
	g := &GeoIP{file: file, log: log}
	err := g.load()
	if err != nil {
		return nil, fmt.Errorf("regions.geoip_file: %w", err)
	}
	return g, nil
}

// maxGeoIP bounds the file, which is kept in memory: one that is mapped, and
// cut short by whoever renews it, would take the process with it.
const maxGeoIP = 1 << 30

// load reads the file. What has been read before stays if it cannot be.
func (g *GeoIP) load() error {
	info, err := os.Stat(g.file)
	if err != nil {
		return err
	}
	g.read = stamp{info.ModTime(), info.Size()} // a broken file is told once
	if info.Size() > maxGeoIP {
		return fmt.Errorf("%s: has %d bytes; at most %d", g.file, info.Size(), maxGeoIP)
	}
	data, err := os.ReadFile(g.file)
	if err != nil {
		return err
	}
	r, err := maxminddb.OpenBytes(data)
	if err == nil {
		err = hasCountries(r)
	}
	if err != nil {
		return fmt.Errorf("%s: not a MaxMind DB of countries or cities: %w", g.file, err)
	}
	g.reader.Store(r)
	return nil
}

var errNoCountries = errors.New("no country in its first networks")

// hasCountries looks at the first networks: a file of something else, as of
// providers, would otherwise be taken for one that knows nothing.
func hasCountries(r *maxminddb.Reader) error {
	const enough = 100_000
	looked := 0
	// Empty ones count, too: a damaged tree may have no end of them.
	for n := range r.Networks(maxminddb.IncludeNetworksWithoutData()) {
		country, err := countryOf(n)
		switch {
		case err != nil:
			return err
		case country != "":
			return nil
		}
		if looked++; looked == enough {
			break
		}
	}
	return errNoCountries
}

// countryOf is where a network is, or else where its owner is registered.
func countryOf(r maxminddb.Result) (iso string, err error) {
	if err = r.DecodePath(&iso, "country", "iso_code"); err == nil && iso == "" {
		err = r.DecodePath(&iso, "registered_country", "iso_code")
	}
	return iso, err
}

// Country returns the ISO 3166-1 alpha-2 code of an address's country, or "".
func (g *GeoIP) Country(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	iso, err := countryOf(g.reader.Load().Lookup(a.Unmap().WithZone("")))
	if err != nil {
		return "" // a damaged record knows nothing
	}
	return iso
}

// geoIPCheck is how often the file is looked at.
const geoIPCheck = 10 * time.Second

// Run reads the file again when it has changed, until ctx ends. One that cannot
// be read leaves the old one in use.
func (g *GeoIP) Run(ctx context.Context) error {
	tick := time.NewTicker(geoIPCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			g.renew()
		}
	}
}

func (g *GeoIP) renew() {
	info, err := os.Stat(g.file)
	if err != nil || (stamp{info.ModTime(), info.Size()}) == g.read {
		return // a moment without the file is part of renewing it
	}
	if err := g.load(); err != nil {
		g.log.Warn("GeoIP file not read again; the old one stays in use", "error", err)
		return
	}
	g.log.Info("GeoIP file read again", "built", time.Unix(int64(g.reader.Load().Metadata.BuildEpoch), 0).UTC())
}
