package directory

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Lease is what a node tells of itself, anew with each renewal.
type Lease struct {
	V      int    `json:"v"`
	Node   string `json:"node"`
	Region string `json:"region"`
	// URL is where devices reach the node from outside, empty if all nodes are
	// behind one name.
	URL     string    `json:"url,omitempty"`
	Version string    `json:"version,omitempty"` // of the program
	Started time.Time `json:"started,omitzero"`
	// Sessions is how many it has, and Max how many it takes.
	Sessions int `json:"sessions,omitempty"`
	Max      int `json:"max,omitempty"`
	// Draining says that it sends its devices elsewhere.
	Draining bool `json:"draining,omitempty"`
}

// NodeInfo is a living node, as it last told.
type NodeInfo struct {
	Incarnation string
	Lease
}

// heard is the lease of another node and when it was heard of, by this node's
// clock.
type heard struct {
	at    time.Time
	lease Lease
}

// OnLoad sets what tells how many sessions the node has and takes. It is called
// at each renewal of the lease, and must be set before [Directory.Run].
func (d *Directory) OnLoad(f func() (sessions, most int)) { d.load = f }

// SetDraining says whether the node sends its devices elsewhere. The others
// hear of it at once.
func (d *Directory) SetDraining(on bool) {
	d.mu.Lock()
	changed := d.draining != on
	d.draining = on
	d.mu.Unlock()
	if changed {
		d.renewNow()
	}
}

// renewNow has the lease renewed before it is time.
func (d *Directory) renewNow() {
	select {
	case d.tellNow <- struct{}{}:
	default:
	}
}

// lease is what the node tells now.
func (d *Directory) lease() Lease {
	l := Lease{
		V: recordVersion, Node: d.config.Node, Region: d.config.Region, URL: d.config.URL,
		Version: d.config.Version, Started: d.begun,
	}
	if d.load != nil {
		l.Sessions, l.Max = d.load()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	l.Draining = d.draining
	return l
}

func (d *Directory) leaseData() []byte {
	data, _ := json.Marshal(d.lease())
	return data
}

// decodeLease reads what a node tells. What cannot be read, as of a newer
// version, still holds: the node is known by its incarnation.
func decodeLease(incarnation string, data []byte) (Lease, error) {
	l := Lease{}
	err := decode("lease", data, &l)
	if err == nil && !strings.HasPrefix(incarnation, l.Node+"-") {
		err = &RecordError{"lease", "node", "is not the one that it is kept for"}
	}
	if err != nil {
		return Lease{V: recordVersion, Node: incarnation[:max(strings.LastIndexByte(incarnation, '-'), 0)]}, err
	}
	return l, nil
}

// Nodes lists the incarnations whose leases hold, this node's included.
func (d *Directory) Nodes() []string {
	var all []string
	for _, n := range d.NodeList() {
		all = append(all, n.Incarnation)
	}
	return all
}

// NodeList lists the nodes whose leases hold, this one included, by their
// incarnations. What it tells of others is as old as their last renewal.
func (d *Directory) NodeList() []NodeInfo {
	own := d.lease()
	d.mu.Lock()
	defer d.mu.Unlock()
	var all []NodeInfo
	for _, n := range slices.Sorted(maps.Keys(d.leases)) {
		if n != d.incarnation && d.aliveLocked(n) {
			all = append(all, NodeInfo{n, d.leases[n].lease})
		}
	}
	if d.aliveLocked(d.incarnation) {
		all = append(all, NodeInfo{d.incarnation, own})
	}
	slices.SortFunc(all, func(a, b NodeInfo) int { return strings.Compare(a.Incarnation, b.Incarnation) })
	return all
}
