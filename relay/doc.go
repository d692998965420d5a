// Package relay is a TURN and STUN server (RFC 8656, RFC 8489) for calls whose
// peers cannot reach each other.
//
// Clients reach it over UDP and TCP on one port and over TLS on another. They
// have credentials that a [Minter] made for one user in one call; the relay
// checks them without asking anybody. What it relays is UDP, over IPv4 and IPv6.
//
// # Parts
//
// The TURN library (pion/turn) keeps allocations, permissions and channels, and
// relays what comes in indications and channels. Everything around it is here, put
// in where the library lets its users do so:
//
//   - guard sees every message before the library and every answer after it. It
//     drops what is no message, checks credentials by the long-term credential
//     mechanism (RFC 8489 section 9.2.4), refuses what the library would leave
//     without an answer, and answers STUN. Requests that it lets through it signs
//     anew, with a nonce of the library's, which checks them again. The library's
//     listeners would not survive errors of the kernel; those of the guard do.
//   - nonces makes and checks nonces, which are bound to a client and good at all
//     relays that have the same secrets.
//   - strangers lets each source, and all together, have only so many answers
//     without authentication.
//   - policy says whom packets are relayed to: public unicast addresses, in
//     whatever way an address is written. It is asked for every permission, every
//     channel and every packet.
//   - table counts the allocations that exist or are about to, against quotas.
//   - generator opens relay sockets, at the address that has most room, on ports
//     that nobody can predict.
//   - flows are the channels of clients over UDP. Their packets, which is to say nearly
//     all, go from socket to socket without the library, in batches (internal/datagram);
//     meters bound them. What else comes waits in an inbox until the library reads it.
//   - offloader has the kernel relay the flows that it can (internal/offload): each after
//     its first packet has gone through here, for half a minute at a time, with the same
//     meters and into the same counts. Packets that the kernel is not sure of come here.
//
// All of them open sockets in one [Network], which is this machine's or one in memory: there
// a relay runs in virtual time, an hour in a moment (testing/synctest).
//
// A [Registrar], which it is given, tells others where the relay is and what it has to
// do. While it drains, allocations without media are ended, so that it comes to an end;
// new ones are sent to other relays, where there are.
//
// # What it promises
//
//   - Nobody without credentials has it relay anything, is sent more than 1.9
//     times what it sent, or more answers than the limit.
//   - Who has credentials reaches public addresses, and other allocations; never
//     this machine, its network, or a cloud's metadata, unless the operator has
//     allowed that.
//   - Errors of the network and of the kernel, and clients that send garbage or
//     read nothing, end at most the connection that they belong to.
//   - Nothing is relayed of a channel, or to a client without a permission for the peer,
//     once that has ended: by the kernel neither, which relays nothing half a minute after
//     the process was last heard of. Peers that the policy has come to deny are cut off there
//     within ten seconds, here at once.
//   - Whoever relays, what arrives is the same, but for what IP says of the way: the kernel
//     takes a hop off and keeps DSCP, ECN, DF, as RFC 8656 section 14 prefers.
//   - Logs have no addresses of clients or peers, metrics no names of anybody.
//
// # Goroutines
//
// [Server.Serve] owns all of them and returns when they have ended. Each UDP listener has
// a loop, which receives for it and for the relay sockets of its clients, and one for the
// library, so that packets of calls do not wait for requests. One accepts for each of TCP
// and TLS, one serves each connection, one waits for what an allocation's peers send
// outside channels, one waits to be drained, and one for each transport asks the library
// for nonces. In the plain data path each socket has one that receives instead of the loop.
//
// One more tells the kernel what to relay, renews that, and reads what it has counted; three
// follow the machine's interfaces, addresses and routes for it while the kernel relays.
//
// # What it leaves out
//
// TCP to peers (RFC 6062), reserved even ports, DTLS to clients, mobility (RFC
// 8016), third-party authorization (RFC 7635), and NAT discovery (RFC 5780).
package relay
