// Package admin is the operators' API: HTTP and JSON under /admin/v1, on a
// listener of its own with a credential of its own. It looks up numbers, lists
// nodes, sessions, relays and calls that are over, explains which relays a call gets,
// ends sessions, removes devices, drains nodes and relays.
//
// # The way in
//
// [New] makes an [API], which is an http.Handler. Every operation is one entry
// of a list, made of two Go types: what is asked and what is answered. The
// server reads requests by the first, [Document] derives the OpenAPI 3.1
// description from both, and [Client] has a method for each. openapi.json, in
// this folder, is that description; a test keeps it, and another calls every
// operation and holds its answers against it.
//
// # What it promises
//
// Nothing is answered without one of the bearer tokens in [Tokens], compared in
// constant time. A number is only ever in a body, never in a URL or a log. Every
// change leaves one line in the log, with who asked, from where, for what, and
// how it ended. Bodies, pages, the time of a request and the number of requests
// at a time have bounds. Errors are those of the public API: a stable code, a
// category, whether to retry, a sentence.
//
// Any node answers for all of them: sessions of other nodes are asked of these,
// by NATS, and so is draining.
//
// A process that has a relay and no sessions has the operations on the relay alone:
// [NewRelay] makes these.
//
// The package starts no goroutine. All methods may be called concurrently.
package admin
