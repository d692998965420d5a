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
// Inviting, answering, declining, cancelling, hanging up, describing and sending
// are intents: they are kept across reconnects and sent again, with the same
// ids, until the server has answered or the context ends. A refusal that the
// server calls passing is tried again for a while, too.
//
// Errors are of four kinds: a [*protocol.Error] is the server's refusal, to be
// told apart by its code; an [*EndError] or [ErrClosed] is the end of the
// client; [ErrDisconnected] is a question, as [Client.Presence], that was lost
// with its connection; and whatever else ended the context that was given.
//
// [Client.Subscribe] follows whether numbers are there, over reconnects, as far as
// their owners let the account see; [Client.SyncContacts], [Client.Block] and
// [Client.SetSettings] say whom the account knows, whom it does not want to hear
// of, and who may see it.
//
// Two people who call each other at the same moment end up in one call. The
// client whose invite was merged is told so by the reply, and gets the other
// call once, as [Incoming] with Merged, to be answered without asking anyone.
//
// A client may know several nodes of a server, and goes on to the next when one is
// gone (Others in [Options]). A node may also name a better one: nearer, or one
// that takes over when it stops. The client goes there by itself, when nothing is
// going on or when it must, and the session and its calls go on; Stay keeps it
// from that.
//
// A Client owns its goroutines; [Client.Close] ends them and waits. All methods
// may be called concurrently. Everything that waits is bounded: events, those of
// a call, and requests ([ErrTooMany]).
package client
