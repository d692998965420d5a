// Package cdr keeps call detail records: what operators may know of each call that
// is over. A record has accounts and devices, never numbers; times, the reason of
// the end, and for each side the path that media took and how it came, as the side
// has reported it. It has no descriptions, no addresses but those of relays, and
// nothing of what was said.
//
// # Promises
//
// [Store.Write] returns once a record is stored and synced. Of a call that is told
// again, by whatever node, within 20 minutes the first record stays: the message's
// id says which call it is of and when that began. Records go with their age, and
// the oldest when there are too many.
//
// # The stream
//
//	stream  subject                                       life
//	CDR     cdr.<region>.<caller>.<callee>.<call>.<began> as configured
//
// Caller and callee are accounts, <call> is a hash of the call's id, which a client
// chose and which must not become a subject, and <began> tells apart two calls that
// a client has given the same id. What is not known is "_". So each record has a
// subject of its own, by which the server finds those of an account, and that of a
// call, without reading others. That costs the server about a quarter KiB of memory
// for each record, which is why their number has a bound.
//
// Lists are newest first: in the order in which records were written, about 5 s
// after the ends of the calls. One request reads a bounded number of records, see
// [Store.List].
//
// The package starts no goroutine. Package cdrtest has the contract as a test, and a
// fake in memory.
package cdr
