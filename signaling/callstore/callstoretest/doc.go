// Package callstoretest has what a store of call records promises, as a test
// that every implementation must pass, and [Fake], one in memory for the tests
// of others.
//
// The fake starts no goroutine, blocks on nothing and reads the clock only
// through package time, so it lives inside a testing/synctest bubble. Several
// nodes share a Fake as they would share the bucket.
package callstoretest
