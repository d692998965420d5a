package admin

import (
	"context"
	"net/http"
	"reflect"

	"switchboard/signaling/protocol"
)

// Base is what the paths of the API begin with.
const Base = "/admin/v1"

// operation is one thing that can be asked.
type operation struct {
	method, path string // the path as [http.ServeMux] has it
	id           string // in the description, in the log and in the metric
	summary      string
	reads        bool            // changes nothing, though its method is not GET
	ofRelay      bool            // about the relay of the process
	errors       []protocol.Code // beside those that every operation may have
	in, out      reflect.Type
	do           func(a *API, ctx context.Context, in any) (any, error)
}

// changes reports whether it changes something.
func (o *operation) changes() bool { return !o.reads && o.method != http.MethodGet }

// does makes an operation's types and function from a method of the API.
func does[In, Out any](o operation, f func(a *API, ctx context.Context, in In) (Out, error)) operation {
	o.in, o.out = reflect.TypeFor[In](), reflect.TypeFor[Out]()
	o.do = func(a *API, ctx context.Context, in any) (any, error) { return f(a, ctx, in.(In)) }
	return o
}

var (
	notFound = []protocol.Code{protocol.CodeNotFound}
	noNode   = []protocol.Code{protocol.CodeNotFound, protocol.CodeConflict}
)

// operations lists what can be asked. The server, the description and the tests
// range over it.
var operations = []operation{
	does(operation{
		method: http.MethodPost, path: "/numbers/lookup", id: "lookup", reads: true,
		summary: "Look up the account of a number: its devices, where they are connected, what waits for them",
		errors:  []protocol.Code{protocol.CodeNotFound, protocol.CodeNumber},
	}, (*API).lookup),
	does(operation{
		method: http.MethodGet, path: "/accounts/{account}", id: "account",
		summary: "The same for an account that is known",
		errors:  notFound,
	}, (*API).account),
	does(operation{
		method: http.MethodGet, path: "/accounts/{account}/sessions", id: "accountSessions",
		summary: "List the sessions of an account, on whatever node",
		errors:  notFound,
	}, (*API).accountSessions),
	does(operation{
		method: http.MethodDelete, path: "/accounts/{account}/devices/{device}/session", id: "endSession",
		summary: "End the session of a device, on whatever node; the device may connect again",
		errors:  notFound,
	}, (*API).endSession),
	does(operation{
		method: http.MethodDelete, path: "/accounts/{account}/devices/{device}", id: "removeDevice",
		summary: "Remove a device: its tokens are good no more, its session ends, its mailbox is emptied",
		errors:  notFound,
	}, (*API).removeDevice),
	does(operation{
		method: http.MethodGet, path: "/nodes", id: "nodes",
		summary: "List the living nodes",
	}, (*API).nodes),
	does(operation{
		method: http.MethodGet, path: "/nodes/{node}/sessions", id: "nodeSessions",
		summary: "List the sessions of a node, page by page",
		errors:  noNode,
	}, (*API).nodeSessions),
	does(operation{
		method: http.MethodDelete, path: "/nodes/{node}/sessions/{session}", id: "endNodeSession",
		summary: "End a session of a node, by its name; the device may connect again",
		errors:  noNode,
	}, (*API).endNodeSession),
	does(operation{
		method: http.MethodPost, path: "/nodes/{node}/drain", id: "drain",
		summary: "Take a node out of service: it is not ready, sends its sessions elsewhere and idles, until undrained or stopped. Its calls go on; a relay in the same process does, too",
		errors:  noNode,
	}, (*API).drain),
	does(operation{
		method: http.MethodPost, path: "/nodes/{node}/undrain", id: "undrain",
		summary: "Put a drained node back into service",
		errors:  noNode,
	}, (*API).undrain),
	does(operation{
		method: http.MethodGet, path: "/relays", id: "relays",
		summary: "List the STUN and TURN servers that the node tells devices of",
	}, (*API).relays),
	does(operation{
		method: http.MethodPost, path: "/route", id: "route", reads: true,
		summary: "Explain which relays a call between two numbers would be given now, and why. It is worked out by what real calls are given theirs by",
		errors:  []protocol.Code{protocol.CodeNotFound, protocol.CodeNumber, protocol.CodeSelf},
	}, (*API).route),
	does(operation{
		method: http.MethodGet, path: "/relay", id: "relayState", ofRelay: true,
		summary: "Tell how the relay of this process does. A process without the role signaling has this operation and the next four alone, on ops.listen",
		errors:  []protocol.Code{protocol.CodeUnsupported},
	}, (*API).relayState),
	does(operation{
		method: http.MethodPost, path: "/relay/drain", id: "drainRelay", ofRelay: true,
		summary: "Take the relay of this process out of service: it is given to no call, and those on it are asked to leave. The process stays, and so do the sessions of a signaling node in it",
		errors:  []protocol.Code{protocol.CodeUnsupported},
	}, (*API).drainRelay),
	does(operation{
		method: http.MethodPost, path: "/relay/resume", id: "resumeRelay", ofRelay: true,
		summary: "Put the relay of this process back into service. One whose process is about to end stays out",
		errors:  []protocol.Code{protocol.CodeUnsupported, protocol.CodeConflict},
	}, (*API).resumeRelay),
	does(operation{
		method: http.MethodGet, path: "/relay/data-path", id: "relayDataPath", ofRelay: true,
		summary: "Tell who relays the packets of channels over UDP: the kernel, or the relay's process",
		errors:  []protocol.Code{protocol.CodeUnsupported},
	}, (*API).relayDataPath),
	does(operation{
		method: http.MethodPost, path: "/relay/data-path/{to}", id: "setRelayDataPath", ofRelay: true,
		summary: "Change who relays them, until the process ends; no packet is lost. Where it is to be the kernel, and that cannot, conflict says why",
		errors:  []protocol.Code{protocol.CodeUnsupported, protocol.CodeConflict},
	}, (*API).setRelayDataPath),
	does(operation{
		method: http.MethodGet, path: "/calls", id: "calls",
		summary: "List the records of calls that are over, newest first, page by page",
		errors:  []protocol.Code{protocol.CodeUnsupported},
	}, (*API).calls),
	does(operation{
		method: http.MethodGet, path: "/pushes/dead", id: "deadPushes",
		summary: "List the pushes that could not be brought, oldest first, page by page; they are kept for a week",
		errors:  []protocol.Code{protocol.CodeUnsupported},
	}, (*API).deadPushes),
	does(operation{
		method: http.MethodPost, path: "/pushes/dead/{place}/retry", id: "retryPush",
		summary: "Wake the device once more, in the way that it has named by now, and take the push off the list. For texts alone: calls are over",
		errors:  []protocol.Code{protocol.CodeUnsupported, protocol.CodeNotFound, protocol.CodeConflict},
	}, (*API).retryPush),
	does(operation{
		method: http.MethodDelete, path: "/pushes/dead/{place}", id: "dropPush",
		summary: "Take a push off the list",
		errors:  []protocol.Code{protocol.CodeUnsupported, protocol.CodeNotFound},
	}, (*API).dropPush),
}
