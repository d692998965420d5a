// Package offloadtest is a network for tests of a relay whose packets the kernel sends on:
// a client's machine, the relay's and a peer's, each a network namespace, with a cable of
// Ethernet between the relay and each of the others, over which IPv4 and IPv6 go.
//
//	client 10.71.1.2, fd71:1::2 ── 10.71.1.1, fd71:1::1 relay 10.71.2.1, fd71:2::1 ── 10.71.2.2, fd71:2::2 peer
//
// [Lay] makes them, which takes root, and the test's end takes them away. The namespaces have
// no names: the kernel removes them with the last process and file that hold them, however
// these went. The relay must be a process of its own, since its sockets are opened from many
// threads; [Space.Start] starts it there. What the test itself opens, it opens in one call of
// [Space.Do].
//
// [Client] speaks TURN for as many allocations and channels as a test wants, [Frame] makes
// packets of every kind, and [Tap] sees them as they are on the cable.
package offloadtest
