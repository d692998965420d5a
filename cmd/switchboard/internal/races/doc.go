// Package races has the tests in which phones do things at the same moment that
// only one of them can: two call each other (glare), or several devices answer one
// call. They run on two nodes and a NATS server, each a process, and count what
// comes of it. "make races" runs 10,000 of each.
package races
