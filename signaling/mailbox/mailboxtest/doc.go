// Package mailboxtest has what a mailbox promises, as a test that every
// implementation must pass, and [Fake], one in memory for the tests of others.
//
// The fake starts no goroutine, blocks on nothing and reads the clock only
// through package time, so it lives inside a testing/synctest bubble.
package mailboxtest
