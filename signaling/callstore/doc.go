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
// it is written to the file by the server in the background, without the sync
// that a mailbox has: calls change too often, and live too short, for one each.
// A server that stops in order loses nothing; one that is killed may lose
// the changes of its last moments, and a loss of power more than that. A call
// that is lost so is rebuilt or ended by its devices.
//
// A Store has no goroutines. Package callstoretest has the contract as a test,
// and a fake in memory.
package callstore
