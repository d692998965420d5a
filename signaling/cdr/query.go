package cdr

import (
	"time"

	"switchboard/signaling/protocol"
)

// Query says which records are wanted. What is empty does not matter.
type Query struct {
	Account string // of either side
	Call    string // its id
	// Since and Until bound when the calls ended, both included.
	Since, Until time.Time
	Region       string
	Reason       protocol.Reason
	Path         PathKind
	// Before is [Page.Next] of the page before; 0 begins at the newest.
	Before uint64
	// Limit is how many records are wanted, 1 to [MaxPage].
	Limit int
}

// Page is a part of a list, newest first.
type Page struct {
	Records []Record
	// Next is where the list goes on, 0 at its end. A page that is not full, or even
	// empty, may have one: so far was looked, and not further at once.
	Next uint64
}

// MaxPage is the most records of a page.
const MaxPage = 500

// Matches reports whether r is wanted, wherever the page begins.
func (q *Query) Matches(r *Record) bool {
	return (q.Account == "" || q.Account == r.Caller.Account || q.Account == r.Callee.Account) &&
		(q.Call == "" || q.Call == r.Call) &&
		(q.Since.IsZero() || !r.Ended.Before(q.Since)) &&
		(q.Until.IsZero() || !r.Ended.After(q.Until)) &&
		(q.Region == "" || q.Region == r.Region) &&
		(q.Reason == "" || q.Reason == r.Reason) &&
		(q.Path == "" || q.Path == r.Path)
}

// size is the number of records that a page may have.
func (q *Query) size() int { return min(max(q.Limit, 1), MaxPage) }
