package admin

import (
	"cmp"
	"context"
	"slices"

	"switchboard/signaling/protocol"
)

func (a *API) nodes(context.Context, none) (Nodes, error) {
	all := append([]Node{}, a.deps.Fleet.Nodes()...)
	slices.SortFunc(all, func(x, y Node) int {
		return cmp.Or(cmp.Compare(x.Region, y.Region), cmp.Compare(x.Incarnation, y.Incarnation))
	})
	return Nodes{all}, nil
}

// self is the name of the node that answers, for whoever does not know it.
const self = "self"

// node returns the living node that is meant. The one that answers is one even
// when it has lost its lease.
func (a *API) node(name string) (Node, error) {
	if name == self {
		name = a.deps.Fleet.Incarnation()
	}
	var found []Node
	for _, n := range a.deps.Fleet.Nodes() {
		if n.Incarnation == name {
			return n, nil
		}
		if n.Node == name {
			found = append(found, n)
		}
	}
	if name == a.deps.Fleet.Incarnation() {
		return Node{Incarnation: name, Self: true}, nil
	}
	switch len(found) {
	case 0:
		return Node{}, protocol.NewError(protocol.CodeNotFound, "no living node is called so")
	case 1:
		return found[0], nil
	}
	return Node{}, protocol.NewError(protocol.CodeConflict, "%d nodes are called so; give the incarnation of the one that is meant", len(found))
}

func (a *API) drain(ctx context.Context, r nodeRequest) (Drained, error) {
	return a.setDrain(ctx, r, true)
}

func (a *API) undrain(ctx context.Context, r nodeRequest) (Drained, error) {
	return a.setDrain(ctx, r, false)
}

func (a *API) setDrain(ctx context.Context, r nodeRequest, on bool) (Drained, error) {
	n, err := a.node(r.Node)
	if err != nil {
		return Drained{}, err
	}
	return Drained{n.Incarnation, on}, a.deps.Sessions.DrainNode(ctx, n.Incarnation, on)
}

func (a *API) relays(context.Context, none) (Relays, error) {
	return Relays{append([]Relay{}, a.deps.Relays()...)}, nil
}
