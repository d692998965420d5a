// Package client is the Go SDK of Switchboard: registration, and a session over
// which a device calls and is called by phone number, and texts.
//
// [RequestCode] and [Confirm] turn a number into a device and its token, and
// [Dial] opens a session with it. A [Client] keeps its session: it reconnects,
// resumes, answers heartbeats, acknowledges, and drops what it has had before.
// What it tells comes as an [Event] from [Client.Events], which must be read.
// Calls are [Call] values with events of their own. Media is not the SDK's: it
// carries descriptions and candidates for a WebRTC stack of the program's
// choice.
//
// Answering, declining, cancelling, hanging up, inviting and sending are
// intents: they are kept across reconnects and sent again, with the same ids,
// until the server has answered or the context ends.
//
// A Client owns its goroutines; [Client.Close] ends them and waits. All methods
// may be called concurrently.
package client
