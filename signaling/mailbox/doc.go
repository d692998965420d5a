// Package mailbox keeps the items that wait for devices: texts, receipts, the
// history of calls. It stores them on NATS JetStream, in order, until the
// device has acknowledged them or they grow too old.
//
// # Model
//
// A mailbox ([Box]) belongs to one device and is one subject in a sharded
// stream, inbox.<shard>.<account>.<device>. There is no JetStream consumer and
// no cursor: the first item that is still there is where the device stands.
//
//   - [Store.Put] stores items, for several boxes at once, and returns when
//     all of them are stored and synced. A repeat of the same box and ID within
//     two minutes is the same item.
//   - [Store.Read] returns what follows a sequence number, in order.
//   - [Store.Tail] asks the leader for the newest sequence number. Read may lag
//     behind it in a cluster: it answers from any replica, with a prefix of what
//     is stored. Whoever must know that nothing is left compares the two.
//   - [Store.Ack] removes everything up to a sequence number. It removes what
//     it is told to: acknowledge only what was read from here without a gap.
//
// Every account has one of 64 logical shards, fixed for ever; shards are spread
// over physical streams INBOX_0, INBOX_1 and so on. Their number is kept in the
// metadata of the streams, and [Open] refuses to start with another one.
//
// # Goroutines
//
// A Store has none of its own. One subscription of the NATS connection takes
// every answer; it ends with [Store.Close], or with the connection.
//
// Accounts stand in subjects; phone numbers must not. Package mailboxtest has
// the contract as a test, and a fake in memory.
package mailbox
