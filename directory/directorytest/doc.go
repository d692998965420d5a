// Package directorytest has what a directory promises, as a test that every
// implementation must pass; a fake in memory for the tests of others; and a
// NATS server for tests that want the real thing.
package directorytest
