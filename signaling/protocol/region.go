package protocol

// PathPing answers anybody's GET with nothing, at once: clients measure round
// trips with it.
const PathPing = "/v1/ping"

// Bounds of what is said about regions.
const (
	MaxRegions    = 32     // regions in a list
	MaxRegionName = 32     // bytes of a region's name
	MaxRoundTrip  = 60_000 // milliseconds; more is told as this
	MaxURL        = 512    // bytes of a URL
)

// Region is a place with nodes, and how far it is away can be measured.
type Region struct {
	Name string `json:"name"`
	// Probe is a URL, http or https, that answers a GET at once.
	Probe string `json:"probe"`
}

// Better names a node that the device had better be connected to.
type Better struct {
	// URL is the node's, in the form ws://host or wss://host.
	URL    string `json:"url"`
	Region string `json:"region"`
}

// roundTrips checks what a client has measured.
func (c *check) roundTrips(field string, m map[string]int) {
	c.count(field, len(m), 0, MaxRegions)
	for name, ms := range m {
		c.text(field, name, 1, MaxRegionName)
		c.number(field, int64(ms), 0, MaxRoundTrip)
	}
}

// better checks sizes: whether to go there is for the client to judge, and a bad
// hint must not cost it the welcome.
func (c *check) better(b *Better) {
	if b == nil {
		return
	}
	c.text("better.url", b.URL, 1, MaxURL)
	c.text("better.region", b.Region, 1, MaxRegionName)
}

func (c *check) regions(list []Region) {
	c.count("regions", len(list), 0, MaxRegions)
	for _, r := range list {
		c.text("regions.name", r.Name, 1, MaxRegionName)
		c.text("regions.probe", r.Probe, 1, MaxURL)
	}
}
