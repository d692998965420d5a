package region

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Config is what an operator may set. All nodes need the same, but for the
// file's place; nodes that differ send devices back and forth.
type Config struct {
	// List are the regions, at most [protocol.MaxRegions]. Without any, a device
	// stays at the node that it has found.
	List []Region `yaml:"list"`
	// Default is the region of devices of which nothing is known. Empty leaves
	// them where they are.
	Default string `yaml:"default"`
	// GeoIPFile is a MaxMind DB of countries or cities. Empty does without.
	GeoIPFile string `yaml:"geoip_file"`
}

// Region is a place with nodes.
type Region struct {
	// Name is what nodes of the region have as theirs.
	Name string `yaml:"name"`
	// Countries are those whose devices belong here: ISO 3166-1 alpha-2 codes,
	// as DE, or calling codes, as +49 or +1, for those that no code names.
	Countries []string `yaml:"countries"`
	// Probe is the URL, http or https, that devices measure round trips with:
	// [protocol.PathPing] of any node there. Empty leaves the region unmeasured.
	Probe string `yaml:"probe"`
}

// Default has no regions.
func Default() Config { return Config{List: []Region{}} }

// Validate reports every key that has a value which cannot be.
func (c Config) Validate() error {
	var errs []error
	need := func(ok bool, key, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s: %s", key, fmt.Sprintf(format, args...)))
		}
	}
	need(len(c.List) <= protocol.MaxRegions, "list", "has %d regions; at most %d", len(c.List), protocol.MaxRegions)
	names, countries := map[string]bool{}, map[string]string{}
	for i, r := range c.List {
		at := fmt.Sprintf("list[%d].", i)
		need(len(r.Name) <= protocol.MaxRegionName && isName.MatchString(r.Name), at+"name", "%q is not 1 to %d of a-z, 0-9 and - in between", r.Name, protocol.MaxRegionName)
		need(!names[r.Name], at+"name", "%q is named twice", r.Name)
		names[r.Name] = true
		need(r.Probe == "" || validProbe(r.Probe), at+"probe", "%q is not a URL such as https://eu.example%s", r.Probe, protocol.PathPing)
		for _, country := range r.Countries {
			need(isCountry(country), at+"countries", "%q is neither an ISO 3166-1 code such as DE nor a calling code such as +49", country)
			other, taken := countries[country]
			need(!taken, at+"countries", "%q is in the region %q, too", country, other)
			countries[country] = r.Name
		}
	}
	need(c.Default == "" || names[c.Default], "default", "%q is none of the regions in list", c.Default)
	need(c.GeoIPFile == "" || len(c.List) > 0, "geoip_file", "is given, but list has no regions")
	return errors.Join(errs...)
}

var (
	isName    = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	isISO     = regexp.MustCompile(`^[A-Z]{2}$`)
	isCalling = regexp.MustCompile(`^\+[1-9][0-9]{0,2}$`)
)

// isCountry wants a country that has phone numbers: it catches UK for GB.
func isCountry(s string) bool {
	return isCalling.MatchString(s) || isISO.MatchString(s) && e164.CallingCode(s) != 0
}

func validProbe(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && len(s) <= protocol.MaxURL && !strings.Contains(s, "#")
}
