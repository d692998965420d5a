// Package ledger checks what Switchboard promises of texts: each one that was
// acknowledged reaches every device of its receiver and the sender's other
// devices, is shown there exactly once, in the order of the device's mailbox and
// after whatever was acknowledged before it was sent, as it was sent; and none
// comes that nobody sent.
//
// A program tells a [Ledger] of its devices, of each text before it is sent, of
// the acknowledgement, and of each text that a device shows. [Ledger.Check] is
// the verdict. It knows neither network nor server, so that tests, make chaos
// and softphone load can all use it.
package ledger
