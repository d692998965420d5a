// Package processes places the calls of scenarios among real processes: signaling
// nodes and relays (switchboard) and phones (softphone), each in a network namespace of
// its own. It is the kernel engine's side of cmd/natlab.
//
// [Engine.Place] makes the networks of a case, has an independent probe say whether its
// NATs are what they are taken for, starts the servers and the phones, lets one call the
// other, does what the case says happens in the call, and tells how it went. Whatever
// happens, no process and no namespace of the case is left when it returns; what a
// killed lab leaves behind, the package relay/natlab/kernel cleans.
//
// Place may be called concurrently. It owns all goroutines and processes of its call
// and waits for their ends. An [Engine] keeps programs, secrets and what was probed
// between calls, and nothing that runs.
package processes
