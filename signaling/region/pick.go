package region

import (
	"math/rand/v2"

	"switchboard/signaling/protocol"
)

// Node is what is known of a node that lives.
type Node struct {
	Name     string // its incarnation
	Region   string
	URL      string // where devices reach it, ws or wss; empty: not by itself
	Sessions int    // as of its last renewal
	Max      int    // 0: not known
	Draining bool
}

// load orders nodes by how full they are.
func (n Node) load() float64 {
	if n.Max <= 0 {
		return 0
	}
	return float64(n.Sessions) / float64(n.Max)
}

// fullAt is the load from which on nobody is sent to a node: its own devices
// may come back at any moment.
const fullAt = 0.9

// takes reports whether devices may be sent to the node.
func (n Node) takes() bool { return n.URL != "" && !n.Draining && n.load() < fullAt }

// Nodes are those to which devices may be sent, by region. It is for one
// goroutine: what it gives out it counts, so that many who ask in a row are
// spread even though nobody has moved yet.
type Nodes struct {
	random   func(n int) int
	byRegion map[string][]*Node
	all      []*Node
}

// Among returns those of nodes to which devices of another node, self, may be
// sent.
func Among(nodes []Node, self string) *Nodes {
	n := &Nodes{random: rand.IntN, byRegion: map[string][]*Node{}}
	for _, node := range nodes {
		if node.Name == self || !node.takes() {
			continue
		}
		n.all = append(n.all, &node)
		n.byRegion[node.Region] = append(n.byRegion[node.Region], &node)
	}
	return n
}

// In returns a node of a region for a device to go to, or nil.
func (n *Nodes) In(region string) *protocol.Better { return n.take(n.byRegion[region]) }

// InOrElse is In, or else a node of any region.
func (n *Nodes) InOrElse(regions ...string) *protocol.Better {
	for _, r := range regions {
		if b := n.In(r); b != nil {
			return b
		}
	}
	return n.take(n.all)
}

// take is the power of two choices: of two at random the one with the lower
// load. Always the emptiest would be stormed by all who ask at the same moment.
func (n *Nodes) take(from []*Node) *protocol.Better {
	if len(from) == 0 {
		return nil
	}
	node := from[n.random(len(from))]
	if other := from[n.random(len(from))]; other.less(node) {
		node = other
	}
	if !node.takes() {
		return nil // filled by those before
	}
	node.Sessions++
	return &protocol.Better{URL: node.URL, Region: node.Region}
}

// less compares loads; where they are alike, as when they are not known,
// numbers of sessions.
func (n *Node) less(than *Node) bool {
	a, b := n.load(), than.load()
	return a < b || a == b && n.Sessions < than.Sessions
}
