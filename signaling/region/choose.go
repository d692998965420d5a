package region

import (
	"cmp"
	"slices"
	"strconv"

	"switchboard/directory/e164"
)

// Facts are what is known of a device. Each may be missing.
type Facts struct {
	// RoundTrips are what the device has measured, in milliseconds by region.
	RoundTrips map[string]int
	// Country is where its address is, as an ISO 3166-1 alpha-2 code.
	Country string
	// Number is its account's.
	Number e164.Number
	// Here is the region in which it is connected.
	Here string
}

// Reason is why a region was chosen.
type Reason string

// The reasons, in the order in which they count.
const (
	ByRoundTrip Reason = "round_trip" // the device has measured it
	ByAddress   Reason = "address"    // the country of its address
	ByNumber    Reason = "number"     // the country of its number
	ByDefault   Reason = "default"    // nothing better is known
	ByPlace     Reason = "place"      // nothing is known, and there is no default: it stays
)

// Choice is a region, and why.
type Choice struct {
	Region string
	Reason Reason
}

// Table is what [Table.Choose] decides by. It does not change.
type Table struct {
	names    []string // in the order of the list
	country  map[string]string
	fallback string
}

// NewTable makes the table of c, which must be valid.
func NewTable(c Config) Table {
	t := Table{country: map[string]string{}, fallback: c.Default}
	for _, r := range c.List {
		t.names = append(t.names, r.Name)
		for _, country := range r.Countries {
			t.country[country] = r.Name
		}
	}
	return t
}

// Choose returns the region where a device is best served. It does the same for
// the same facts, whichever node asks, but for what follows from Here: a device
// stays where the gain would be small.
func (t Table) Choose(f Facts) Choice {
	if r := t.nearest(f.RoundTrips, f.Here); r != "" {
		return Choice{r, ByRoundTrip}
	}
	if r := t.ofAddress(f.Country); r != "" {
		return Choice{r, ByAddress}
	}
	if r := t.ofNumber(f.Number); r != "" {
		return Choice{r, ByNumber}
	}
	if t.fallback != "" {
		return Choice{t.fallback, ByDefault}
	}
	return Choice{f.Here, ByPlace}
}

// A move must save both this many milliseconds and this part of the round trip,
// or measurements that waver would send a device back and forth.
const (
	worthMS    = 10
	worthParts = 5 // a fifth
)

// nearest is the region with the shortest round trip. One measured alone says
// nothing; names that are none count as not measured.
func (t Table) nearest(trips map[string]int, here string) string {
	measured := slices.DeleteFunc(slices.Clone(t.names), func(name string) bool {
		ms, ok := trips[name]
		return !ok || ms < 0
	})
	if len(measured) < 2 {
		return ""
	}
	best := slices.MinFunc(measured, func(a, b string) int { return cmp.Compare(trips[a], trips[b]) })
	if stay, ok := trips[here]; ok && slices.Contains(measured, here) {
		if gain := stay - trips[best]; gain < worthMS || gain < stay/worthParts {
			return here
		}
	}
	return best
}

// ofAddress is the region of a country, by its name or else its calling code.
func (t Table) ofAddress(country string) string {
	if r := t.country[country]; r != "" {
		return r
	}
	return t.ofCode(e164.CallingCode(country))
}

// ofNumber is the region of a number's country. Reading a number costs more than
// all the rest: it is not done for nothing.
func (t Table) ofNumber(n e164.Number) string {
	if len(t.country) == 0 || n.IsZero() {
		return ""
	}
	if r := t.country[n.Region()]; r != "" {
		return r
	}
	return t.ofCode(n.CallingCode())
}

func (t Table) ofCode(code int) string {
	if code == 0 {
		return ""
	}
	return t.country["+"+strconv.Itoa(code)]
}
