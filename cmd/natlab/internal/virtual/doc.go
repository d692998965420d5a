// Package virtual is the virtual engine: it places calls in memory and in virtual time,
// a minute's call in a fraction of a second, and needs no rights. Networks and NATs are
// those of package natlab; the relays, the signaling nodes and the phones are the real
// ones, but that fakes with the contracts of the real stores stand in for NATS.
//
// Each call has a bubble and a world of its own. Nothing of a call is left when
// [Engine.Run] returns.
package virtual
