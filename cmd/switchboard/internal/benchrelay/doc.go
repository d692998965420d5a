// Benchrelay measures what a packet costs the relay, and coturn's turnserver beside it.
// "make bench-relay" runs it.
package main
