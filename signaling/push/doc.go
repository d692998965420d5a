// Package push wakes devices that are not connected: for a text that waits, for
// a call that rings, and to stop ringing again. It tells no more than that:
// neither numbers nor texts nor descriptions leave by a push. The device
// connects, and finds the rest there.
//
// # Ways
//
// A device gives a [Target]. Webhook: the operator's own service is asked, which
// knows how to reach the app (APNs, FCM, …) by a token that means something to
// it alone. Web Push: a browser's push service (RFC 8030) is asked directly,
// encrypted for the browser (RFC 8291) and signed with the installation's key
// (RFC 8292).
//
// # Promises
//
// [Queue.Put] returns once the push is stored and synced, so that a node that
// dies does not forget it. Every node's [Queue.Run] takes from the same queue.
// A push is tried until it is taken, refused for good, or of no use any more:
// at least once, sometimes twice, with the same ID each time.
//
// Of a device at most one push waits for its texts, and one for each call: a
// newer one takes the place of the one before, if that has not left yet. So
// pushes about one call leave in order, a stop that overtakes its ring is the
// only one that leaves, and a phone that is off for a day is not woken a hundred
// times. Between texts and calls, and between calls, there is no order.
//
// What could not be brought is kept for a week for operators: see [Queue.Dead].
//
// # Streams
//
//	stream    subject                          life
//	PUSH      push.<account>.<device>.m        texts; a day
//	          push.<account>.<device>.c.<hash> a call; as long as it can ring
//	PUSHDEAD  pushdead.<account>.<device>      a week, at most 10,000
package push
