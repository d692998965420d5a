package region

import (
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"

	"switchboard/directory/e164"
	"switchboard/signaling/protocol"
)

// Guide sends devices to where they are best served. Its methods may be called
// concurrently. It is the collector of its own metrics: register it.
type Guide struct {
	*prometheus.CounterVec // choices by reason

	// Static after New.
	table  Table
	here   string
	self   func() string
	nodes  func() []Node
	geo    *GeoIP // may be nil
	probes []protocol.Region
	names  []string
}

// Deps are what a [Guide] asks.
type Deps struct {
	// Here is the region of this node; Self names the node.
	Here string
	Self func() string
	// Nodes lists the nodes that live.
	Nodes func() []Node
	// GeoIP may be nil.
	GeoIP *GeoIP
}

// New makes a guide; c must be valid.
func New(c Config, d Deps) *Guide {
	g := &Guide{
		CounterVec: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_regions_choices_total",
			Help: "Regions chosen for devices, by what they were chosen for and whether it is the node's own.",
		}, []string{"reason", "here"}),
		table: NewTable(c), here: d.Here, self: d.Self, nodes: d.Nodes, geo: d.GeoIP,
	}
	g.names = append(g.names, d.Here)
	for _, r := range c.List {
		if r.Name != d.Here {
			g.names = append(g.names, r.Name)
		}
		if r.Probe != "" {
			g.probes = append(g.probes, protocol.Region{Name: r.Name, Probe: r.Probe})
		}
	}
	return g
}

// Probes are the regions that devices can measure. The slice must not be
// changed.
func (g *Guide) Probes() []protocol.Region { return g.probes }

// Names are all regions that [Guide.Choose] may return: those that are configured,
// and the node's own. The slice must not be changed.
func (g *Guide) Names() []string { return g.names }

// Choose returns the region for a device that has connected to this node from
// an address.
func (g *Guide) Choose(from netip.Addr, n e164.Number, roundTrips map[string]int) Choice {
	c := g.table.Choose(Facts{RoundTrips: roundTrips, Country: g.Country(from), Number: n, Here: g.here})
	where := "no"
	if c.Region == g.here {
		where = "yes"
	}
	g.WithLabelValues(string(c.Reason), where).Inc()
	return c
}

// Absent returns the region for a device that is not there, and will connect to this
// node: nothing is known of it but its number.
func (g *Guide) Absent(n e164.Number) Choice { return g.table.Choose(Facts{Number: n, Here: g.here}) }

// Country returns the country of an address as GeoIP knows it, or "".
func (g *Guide) Country(from netip.Addr) string {
	if g.geo == nil {
		return ""
	}
	return g.geo.Country(from)
}

// Better returns a node of another region that is the device's, or nil where
// the device is right or that region has no room.
func (g *Guide) Better(region string) *protocol.Better {
	if region == g.here {
		return nil
	}
	return Among(g.nodes(), g.self()).In(region)
}

// Leave returns where to send the devices of this node, which stops: to their
// own region, or else this one, or else any. The function is for one goroutine,
// for the moment.
func (g *Guide) Leave() func(region string) *protocol.Better {
	nodes := Among(g.nodes(), g.self())
	return func(region string) *protocol.Better { return nodes.InOrElse(region, g.here) }
}
