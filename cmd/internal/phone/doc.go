// Package phone is the media side of a call: what a telephone does between a
// [client.Client], which signals, and the network. [Place] calls a number, [Answer]
// takes a call that has come; each returns once the call is over, with a [Summary] of
// how it went.
//
// A phone sends G.711 sound, from a file or silence, counts and keeps what it hears,
// restarts ICE when media is lost, and follows the server's word about relays. It
// stores nothing but what [Options.Record] asks for.
//
// With [Options.Net] a phone uses no network but that one, resolves names there, and
// may run in a bubble of testing/synctest. Whatever the network, nothing that Place or
// Answer has started is left when they return: they own a goroutine for the call's
// events, one for requests to the server, one for each direction of sound, and those of
// the ICE library.
package phone
