package region

import (
	"testing"

	"switchboard/directory/e164"
)

var world = Config{
	List: []Region{
		{Name: "eu", Countries: []string{"DE", "FR", "+44", "+41"}, Probe: "https://eu.example/v1/ping"},
		{Name: "us", Countries: []string{"+1"}, Probe: "https://us.example/v1/ping"},
		{Name: "ca", Countries: []string{"CA", "+870"}},
	},
	Default: "us",
}

func TestChoose(t *testing.T) {
	trips := func(eu, us int) map[string]int { return map[string]int{"eu": eu, "us": us} }
	for _, test := range []struct {
		name     string
		trips    map[string]int
		country  string
		number   string
		here     string
		noBetter bool // without a default
		want     Choice
	}{
		{name: "the shortest round trip wins over all else", trips: trips(120, 20), country: "DE", number: "+4930123456", here: "eu", want: Choice{"us", ByRoundTrip}},
		{name: "the shortest round trip is here", trips: trips(20, 120), country: "US", here: "eu", want: Choice{"eu", ByRoundTrip}},
		{name: "a gain of 9 ms is not worth a move", trips: trips(19, 10), here: "eu", want: Choice{"eu", ByRoundTrip}},
		{name: "a gain of 10 ms is", trips: trips(20, 10), here: "eu", want: Choice{"us", ByRoundTrip}},
		{name: "less than a fifth is not worth a move", trips: trips(200, 161), here: "eu", want: Choice{"eu", ByRoundTrip}},
		{name: "a fifth is", trips: trips(200, 160), here: "eu", want: Choice{"us", ByRoundTrip}},
		{name: "elsewhere, a small gain counts", trips: trips(19, 18), here: "ca", want: Choice{"us", ByRoundTrip}},
		{name: "alike: the first of the list", trips: trips(20, 20), here: "ca", want: Choice{"eu", ByRoundTrip}},
		{name: "one measured alone says nothing", trips: map[string]int{"us": 5}, country: "DE", here: "us", want: Choice{"eu", ByAddress}},
		{name: "what is no region is not measured", trips: map[string]int{"us": 50, "moon": 1}, country: "DE", here: "us", want: Choice{"eu", ByAddress}},
		{name: "negative is not measured", trips: map[string]int{"us": -5, "eu": 3}, country: "FR", here: "us", want: Choice{"eu", ByAddress}},
		{name: "here is no region: any gain", trips: map[string]int{"us": 50, "eu": 49, "moon": 1}, here: "moon", want: Choice{"eu", ByRoundTrip}},
		{name: "the address wins over the number", country: "DE", number: "+14155550101", here: "us", want: Choice{"eu", ByAddress}},
		{name: "the address by calling code", country: "GB", here: "us", want: Choice{"eu", ByAddress}},
		{name: "the country's own name wins over its calling code", country: "CA", here: "us", want: Choice{"ca", ByAddress}},
		{name: "an address in no region's country", country: "JP", number: "+4930123456", here: "us", want: Choice{"eu", ByNumber}},
		{name: "the number by name", number: "+16135550123", here: "us", want: Choice{"ca", ByNumber}},
		{name: "the number by calling code", number: "+41446681800", here: "us", want: Choice{"eu", ByNumber}},
		{name: "a number of no country", number: "+870773111632", here: "us", want: Choice{"ca", ByNumber}},
		{name: "nothing known", here: "eu", want: Choice{"us", ByDefault}},
		{name: "nothing that is in the table", country: "JP", number: "+81312345678", here: "eu", want: Choice{"us", ByDefault}},
		{name: "country of nonsense", country: "??", here: "eu", want: Choice{"us", ByDefault}},
		{name: "no default: it stays", here: "eu", noBetter: true, want: Choice{"eu", ByPlace}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := world
			if test.noBetter {
				c.Default = ""
			}
			f := Facts{RoundTrips: test.trips, Country: test.country, Here: test.here}
			if test.number != "" {
				f.Number = number(t, test.number)
			}
			if got := NewTable(c).Choose(f); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}

// TestMovesEnd follows a device that does what it is told: with the same
// measurements, no two regions send it to each other.
func TestMovesEnd(t *testing.T) {
	table := NewTable(world)
	for eu := range 60 {
		for us := range 60 {
			for _, here := range []string{"eu", "us", "ca", "moon"} {
				trips := map[string]int{"eu": eu, "us": us}
				once := table.Choose(Facts{RoundTrips: trips, Here: here})
				if again := table.Choose(Facts{RoundTrips: trips, Here: once.Region}); again != once {
					t.Fatalf("eu %d ms, us %d ms: from %s to %s, and on to %s", eu, us, here, once.Region, again.Region)
				}
			}
		}
	}
}

// TestNoRegions stays where it is, whatever is known.
func TestNoRegions(t *testing.T) {
	f := Facts{RoundTrips: map[string]int{"eu": 1, "us": 2}, Country: "DE", Number: number(t, "+4930123456"), Here: "default"}
	if got, want := NewTable(Default()).Choose(f), (Choice{"default", ByPlace}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func number(t *testing.T, text string) e164.Number {
	t.Helper()
	n, err := e164.Parse(text, "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	return n
}

// BenchmarkChoose is what each hello costs, for the three ways of knowing. A
// reconnect storm makes thousands a second.
func BenchmarkChoose(b *testing.B) {
	n, err := e164.Parse("+41446681800", "")
	if err != nil {
		b.Fatal(err)
	}
	table, none := NewTable(world), NewTable(Default())
	for _, bench := range []struct {
		name  string
		table Table
		facts Facts
	}{
		{"round trips", table, Facts{RoundTrips: map[string]int{"eu": 20, "us": 100}, Country: "DE", Number: n, Here: "us"}},
		{"address", table, Facts{Country: "DE", Number: n, Here: "us"}},
		{"number", table, Facts{Number: n, Here: "us"}},
		{"no regions", none, Facts{Number: n, Here: "us"}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				bench.table.Choose(bench.facts)
			}
		})
	}
}
