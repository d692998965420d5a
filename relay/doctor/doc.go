// Package doctor looks at a TURN relay (RFC 8656) from where its clients are, and says
// what to change.
//
// [Run] asks like a client: it resolves the name, asks STUN over UDP, TCP and TLS, opens
// allocations, has packets relayed both ways, and tries what a relay must refuse. On
// the machine of the relay it looks at the settings of the kernel, too. It knows the
// protocol alone, so that it can look at relays that are not Switchboard's.
//
// Each check gives one [Result], which is told as soon as it is known. Every answer is
// waited for at most [Options.Patience], and everything ends with the context. One
// goroutine does all, one check after the other; nothing is left when Run returns.
//
// It opens at most [portsTried]+2 allocations at a time and ends them. What it sends to
// addresses that a relay must refuse is a request to the relay; no packet goes there.
package doctor
