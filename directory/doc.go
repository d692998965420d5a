// Package directory leads from a phone number to an account, from an account
// to its devices, and from a device to the node that it is connected to. It
// keeps all of it in NATS, so that any node answers for any number.
//
// # Records
//
//	bucket  key                  value                      written
//	ACCT    e1.<key of number>   the account                once, at registration
//	        a.<account>          [AccountRecord]            when it changes
//	DEVS    <account>.<device>   [DeviceRecord]             when it changes
//	PRES    <account>.<device>   binding, in memory         at connect and disconnect
//	NODES   n.<incarnation>      lease, in memory           every few seconds
//	SEEN    <account>            when the last device left  then, coalesced
//
// A number is never part of a key: its key is an HMAC under the installation's
// secret. Records carry a version; one from a newer version is refused with an
// error that names the field, and is left as it is.
//
// # Who is online
//
// A device is online if its binding exists and the lease of the binding's node
// is alive. A node renews its lease by compare-and-set; when it dies, the lease
// lapses and all its bindings are void at once, without a write. A node that
// cannot renew for one lease's time knows that others count it as dead, and
// [Directory.Run] returns [ErrLeaseLost]. Devices that are idle cost no writes.
//
// The revision of the write that binds a device is its fence: [Directory.Unbind]
// removes the binding only if that is still the newest, so that a late
// disconnect never removes a newer connection.
//
// # Between nodes
//
// [Directory.Ask] sends a request to a node and waits for its answer;
// [Directory.Answer] handles them, those of one account in order.
//
// # Goroutines
//
// [Directory.Run] owns all of them and waits for them before it returns. The
// other methods may be called concurrently, by anyone.
package directory
