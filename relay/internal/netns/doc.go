// Package netns has threads in network namespaces of their own (namespaces(7)), on Linux:
// what makes networks for tests and for the NAT lab starts its processes on them, and opens
// its sockets there.
package netns
