// Package iceservers is what joins relays and signaling: which ICE servers the devices
// of a call are given, with credentials for them, and which relays calls must leave.
// Signaling and relays know nothing of each other; programs that run both put a [List]
// between them.
package iceservers
