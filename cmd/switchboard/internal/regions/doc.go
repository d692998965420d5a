// Package regions has the test of three relays in three regions, each a process on
// an address of its own on loopback, with a NATS server and a signaling node. Softphones,
// processes too, call each other through them: each call is held against the relay that
// the rules give it; a relay dies in the middle of a call, and another is drained.
// "make regions" prints a table.
package regions
