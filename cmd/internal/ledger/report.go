package ledger

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is what a [Ledger] proves.
type Report struct {
	Sent   int // begun
	Stored int // of those, acknowledged
	Failed int // of those, given up by their sender
	Shown  int // on some device, each device's counted
	// Broken counts what was broken, by rule. A text that is lost on two devices
	// counts twice.
	Broken map[Rule]int
	// Breaches are the first of each rule.
	Breaches []Breach
}

// OK reports whether every promise was kept.
func (r *Report) OK() bool { return len(r.Broken) == 0 }

// String is one line: what was looked at and what was found.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d sent, %d acknowledged, %d given up, %d times shown", r.Sent, r.Stored, r.Failed, r.Shown)
	for _, rule := range Rules() {
		if rule != Misused || r.Broken[rule] > 0 {
			fmt.Fprintf(&b, ", %d %s", r.Broken[rule], rule)
		}
	}
	return b.String()
}

// Check tells what was broken so far. What is acknowledged and was not shown
// everywhere counts as lost: call it when everything has had its time, which
// [Ledger.Owed] tells.
func (l *Ledger) Check() *Report {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := breaches{l.broken.counts, slices.Clone(l.broken.kept)}
	r := &Report{Sent: len(l.order), Broken: map[Rule]int{}}
	for _, x := range l.order {
		for _, d := range x.due {
			if !d.shown.IsZero() {
				r.Shown++
			}
		}
		if x.failed {
			r.Failed++
		}
		if x.stored.IsZero() {
			continue
		}
		r.Stored++
		for range x.missing() {
			all.add(Breach{Rule: Lost, Text: x.ID})
		}
	}
	for _, rule := range Rules() {
		if n := all.counts[rule]; n > 0 {
			r.Broken[rule] = n
		}
	}
	r.Breaches = all.kept
	return r
}

// Owed counts what has been acknowledged and not shown, each device's counted.
func (l *Ledger) Owed() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.order {
		if !x.stored.IsZero() {
			n += x.missing()
		}
	}
	return n
}

// Passage is what became of a text and when.
type Passage struct {
	ID     string
	Begun  time.Time
	Stored time.Time // zero: not acknowledged
	// Shown is when and where it was shown.
	Shown []Showing
	// Missing is how many devices that are owed it have not shown it.
	Missing int
}

// Showing is when a device showed a text.
type Showing struct {
	Device Device
	At     time.Time
}

// Last is when the last of the devices showed it, or zero while one is missing
// or none was owed it.
func (p *Passage) Last() (last time.Time) {
	if p.Missing > 0 {
		return last
	}
	for _, s := range p.Shown {
		if s.At.After(last) {
			last = s.At
		}
	}
	return last
}

// Passages are those of the texts that were begun at or after a moment, in the
// order in which they were begun.
func (l *Ledger) Passages(since time.Time) []Passage {
	l.mu.Lock()
	defer l.mu.Unlock()
	from, _ := slices.BinarySearchFunc(l.order, since, func(x *text, t time.Time) int { return x.begun.Compare(t) })
	all := make([]Passage, 0, len(l.order)-from)
	for _, x := range l.order[from:] {
		p := Passage{ID: x.ID, Begun: x.begun, Stored: x.stored, Missing: x.missing()}
		for _, d := range x.due {
			if !d.shown.IsZero() {
				p.Shown = append(p.Shown, Showing{d.to.Device, d.shown})
			}
		}
		all = append(all, p)
	}
	return all
}
