// Package protocol is the wire between a device and a signaling node: the
// envelope of a frame, one struct for each message, the codes of errors and
// the codes with which a connection closes. PROTOCOL.md, one folder up, is the
// same in words.
//
// [Catalog] is the one list of messages. The decoder, the tests, PROTOCOL.md's
// check and both SDKs range over it, so that none can know a message that
// another does not.
//
// The package neither reads sockets nor keeps state. All of it is safe for
// concurrent use.
package protocol

// Subprotocol is the WebSocket subprotocol of this protocol (RFC 6455 §1.9).
const Subprotocol = "switchboard.v1"

// SocketPath is where a node accepts WebSocket connections.
const SocketPath = "/v1/ws"
