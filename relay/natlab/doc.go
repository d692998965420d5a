// Package natlab has networks and NATs to test in, in memory: hosts behind routers
// that translate, filter, delay and lose as they are told, in the terms of RFC 4787 and
// RFC 5382.
//
// A [World] looks like net/http/httptest does: make one, add networks, routers and
// hosts, and give [Host.Net] to whatever takes a [transport.Net], as pion/webrtc's and
// pion/turn's settings do, or [Host.DialContext] and [Host.Listen] to the rest. It keeps
// the time of the goroutines around it: in a bubble of testing/synctest, an hour costs a
// millisecond.
//
// The package kernel makes the same [Topology] of network namespaces, for what only a
// real stack shows. Neither knows anything of calls.
package natlab
