// Package directory leads from a phone number to an account, from an account
// to its devices, and from a device to the node that it is connected to. It
// keeps all of it in NATS, so that any node answers for any number.
//
// # Records
//
//	bucket  key                  value                      written
//	ACCT    e1.<key of number>   account, since when        when it gets one or loses it,
//	                                                        is hidden or shown
//	        a.<account>          [AccountRecord]            when it changes
//	DEVS    <account>.<device>   [DeviceRecord]             when it changes
//	PRES    <account>.<device>   [Binding], in memory       at connect and disconnect
//	        n.<incarnation>      that they are there        with the lease
//	NODES   n.<incarnation>      [Lease], in memory         every few seconds
//	        sweep                who is the janitor         when a node has died
//	        idle                 who looked for idle        every few hours
//	                             devices
//	SEEN    <account>            when the last device left  then, coalesced
//	PEOPLE  <account>            whom it knows and blocks   when it changes
//	CONFIG  directory            secret's check, shards     once
//
// Values are JSON. A number is never part of a key: its key is an HMAC under
// the installation's secret, and a node with another secret does not start.
// The account, not the number, is what everything else hangs on, so that a
// number can change hands. Its first six bits are its logical shard, for ever.
//
// Every record carries a version. One of a newer version, or that cannot be
// read, gives a [RecordError] that names the field, and is left as it is.
// Fields that a program does not know are kept when it changes a record.
//
// A number that has lost its account, because that has another number now or was
// deleted, keeps a record without one, a tombstone. Whoever registers with it
// gets a new account.
//
// # Promises
//
// A number has one account, and an external name one device, however many ask
// at once and whatever answers are lost. A device's number is never used again.
// Changes are compare-and-set: none is lost, and [ErrConflict] says that it was
// given up on. [ErrUnavailable] says that NATS did not answer in time, and that
// what was asked may have happened; all operations may be repeated.
//
// In a cluster, Resolve, ResolveAll, LookUp, Devices, Relation, Bindings, PresenceOf and
// Presences read from any replica and may be a moment old. The others read from the leader.
//
// # Who is online
//
// A device is online if its binding exists and the lease of the binding's node
// is alive. A node renews its lease by compare-and-set; when it dies, the lease
// lapses and all its bindings are void at once, without a write. Devices that
// are idle cost no writes.
//
// A node that cannot renew for one lease's time, because NATS is away or it was
// paused, knows not later than the others do that it counts as dead:
// [Directory.Ready] says [ErrLeaseLost], and [Directory.Bind] refuses. It keeps
// its connections, and as soon as NATS answers it takes another lease as another
// incarnation and binds them anew with [Directory.Rebind]: those that nobody
// else has had since. Two nodes that both believe that they have a device agree
// on the newer connection, even when all is lost that NATS had in memory. That it
// is lost a node notices with its next renewal, and does the same.
//
// The revision of the write that binds a device is its fence: [Directory.Unbind]
// removes the binding only if that is still the newest, so that a late
// disconnect never removes a newer connection.
//
// When a lease has ended, one of the living nodes removes the bindings that it
// left and writes down until when their accounts were seen. With the embedded
// server there is no other node, and what it had in memory ends with it: after
// it was killed, last seen is when devices last left in order.
//
// # Relays
//
// A relay says every two seconds on relay.<name> where it is and what it has to do, and
// has no other right in NATS: see [RelayBeacon]. [Directory.Relays] lists those that were
// heard of late and, for an hour, those that have gone. A node speaks to itself, too, so
// that it knows when it would not hear, and thinks then of no relay that it has gone.
//
// # Between nodes
//
// [Directory.Ask] sends a request to a node, on node.<incarnation>.<kind>.<account>,
// where - stands for an account in what is about the node itself, and waits for
// its answer; [Directory.Answer] handles them, those of one account in order. A
// node has one subscription for them, one for what relays say and one watch of
// leases, and nothing that grows with its users, but for those accounts that
// somebody there watches: [Directory.Watch] subscribes to pub.<account>, where
// what concerns their presence is announced.
//
// # Goroutines
//
// [Directory.Run] owns all of them and waits for them before it returns. The
// other methods may be called concurrently, by anyone.
package directory
