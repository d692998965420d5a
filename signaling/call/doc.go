// Package call holds the rules of a call as a pure function.
//
// A [Call] is a value: the whole record of a call between one device of the
// caller and the devices of the callee. [New] makes one, and [Call.Next] says
// what becomes of it when something happens: the call after the event and the
// actions that somebody else must carry out. There is no clock, no id, no lock
// and no I/O in here; time is passed in, timers stand in the value with the time when
// they are due and come back as [Timeout] events, from whoever has a clock. So the caller of Next decides when a new value counts,
// which is when its record has been written by compare-and-set.
//
//	                Ringing            Answer              Report ×2
//	New ──► trying ────────► ringing ────────► connecting ───────────► active
//	          │                 │                  │                  │    ▲
//	          │                 │                  │   Report (lost)  ▼    │ Report ×2
//	          ▼                 ▼                  ▼              reconnecting
//	        ended ◄─────────────┴──────────────────┴───────────────────┘
//
// What holds, whatever the order of events: ended is final; an error changes
// nothing; each device that was told of the call is told of its end exactly
// once; at most one device wins; a call that has ended has no timer but the one
// after which it is recorded.
package call
