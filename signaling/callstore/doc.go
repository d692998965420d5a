// Package callstore keeps the records of calls on a NATS key-value bucket, so
// that any node can carry any call on.
//
// A record is opaque bytes under a key. Every change is a compare-and-set on
// the record's revision: of two nodes that change the same record, one gets
// [ErrConflict], loads and decides again. Every record has a life, given anew
// with each change; a record that nobody changes any more goes by itself.
//
// [Store.Load] sees every change that was reported done before it began, on
// any node.
//
// # Durability
//
// In a cluster a change is on a quorum when it is reported. On a single server
// it is in that server's memory, which writes it to the file within about 15 ms
// and leaves syncing to the system: calls change too often, and live too short,
// for a sync each. A server that stops in order loses nothing. One that is
// killed loses those 15 ms, which were several hundred changes when tried under
// full load; a loss of power costs what the system had not written. Such a call
// is as it was a moment before, or unknown; devices that come back repeat what
// they wanted.
//
// A Store has no goroutines. Package callstoretest has the contract as a test,
// and a fake in memory.
package callstore
