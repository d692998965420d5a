package main

import (
	"fmt"
	"slices"
	"strings"

	"switchboard/directory"
	"switchboard/signaling/region"
)

// validateRegion wants the node to be in one of the regions: devices would all
// be sent elsewhere.
func (c Config) validateRegion() error {
	named := func(r region.Region) bool { return r.Name == c.Region }
	if !c.Has(RoleSignaling) || len(c.Regions.List) == 0 || slices.ContainsFunc(c.Regions.List, named) {
		return nil
	}
	return fmt.Errorf("region: %q is none of those in regions.list", c.Region)
}

// openGeoIP reads the file that tells where addresses are, if there is one.
func (n *node) openGeoIP() (*region.GeoIP, error) {
	if n.config.Regions.GeoIPFile == "" {
		return nil, nil
	}
	g, err := region.OpenGeoIP(n.config.Regions.GeoIPFile, n.log)
	if err != nil {
		return nil, err
	}
	n.parts = append(n.parts, part{name: "GeoIP", run: g.Run})
	return g, nil
}

// openRegions makes what sends devices to where they are best served. geo may
// be nil.
func (n *node) openRegions(d *directory.Directory, geo *region.GeoIP) *region.Guide {
	g := region.New(n.config.Regions, region.Deps{
		Here: n.config.Region, Self: d.Incarnation, GeoIP: geo,
		Nodes: func() []region.Node { return publicNodes(d.NodeList()) },
	})
	n.metrics.MustRegister(g)
	return g
}

// publicNodes are those that devices can be sent to.
func publicNodes(list []directory.NodeInfo) []region.Node {
	var all []region.Node
	for _, n := range list {
		all = append(all, region.Node{
			Name: n.Incarnation, Region: n.Region, URL: socketURL(n.URL),
			Sessions: n.Sessions, Max: n.Max, Draining: n.Draining,
		})
	}
	return all
}

// socketURL is the ws or wss form of a node's URL. What is none, as in the lease
// of a node of another version, is nothing.
func socketURL(public string) string {
	public = strings.TrimSuffix(public, "/")
	for scheme, socket := range map[string]string{"http://": "ws://", "https://": "wss://"} {
		if host, ok := strings.CutPrefix(public, scheme); ok && isBaseURL(public) {
			return socket + host
		}
	}
	return ""
}
