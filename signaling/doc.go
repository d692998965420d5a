// Package signaling serves devices over WebSocket and carries their calls and
// texts between them.
//
// A connection is accepted by [Server.ServeHTTP], which gives it one goroutine
// that reads its frames and has them handled, one after the other, by one of a
// few that all connections share. Nothing else runs for a connection that is
// idle: a goroutine that writes exists while
// there is something to write, and one that drains the mailbox while there is
// something to drain. A session outlives its connection for a while, so that a
// device which changes networks takes it up again and misses nothing; on any
// other node, or later, the state is rebuilt from the records of its calls and
// from its mailbox.
//
// Calls are decided by package call, which is pure. Here each event is applied
// to the call's record by compare-and-set, and only then are the actions
// carried out; so any node can carry any call on. The timers of a call run at the
// node that changed it last; [Server.Run] takes over those of nodes that have died, and
// has calls leave relays that are drained or have died. A few seconds after its end
// each call is written down for operators, see package cdr, at least once whatever dies
// meanwhile, if there is a node within a quarter of an hour.
//
// What people may see of each other, and who reaches whom, is for them to say:
// the account that is called, texted or looked at is asked what it thinks of the
// other. Presence is told to those who subscribe; a goroutine looks at accounts
// only while some have changed of late. Somebody who is blocked hears what he
// would hear if nobody cared to answer.
//
// The package sees the directory, the mailboxes, the records of calls, the
// relays and the tokens through the small interfaces in [Deps]. Sends to other
// devices never block: a connection that cannot keep up is closed as slow, and
// its device resumes.
package signaling
