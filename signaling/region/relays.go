package region

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
)

// Relay is what is known of a relay.
type Relay struct {
	Name     string // its incarnation
	Region   string
	Zone     string // what fails together with it; "" is the relay alone
	Used     int    // allocations, as of its last word
	Max      int    // 0: not known
	Draining bool
	Gone     bool // it has died or stopped
}

// load is how full a relay is, in tenths, so that those who ask a moment later get the
// same answer.
func (r Relay) load() float64 {
	if r.Max <= 0 {
		return 0
	}
	return math.Floor(10*float64(r.Used)/float64(r.Max)) / 10
}

// room is what a relay has left, as a share of the whole; the fullest has a little.
func (r Relay) room() float64 { return max(1-r.load(), 0.05) }

// busyAt is the load from which on a relay is given to calls only where no other is
// left: those that it has may need more.
const busyAt = 0.8

// RelaysPerCall is how many relays a call is given: the second is for when the first
// has died and that is not known yet.
const RelaysPerCall = 2

// Rank says how a relay stands for a call. Those of a lower rank come first.
type Rank int

// The ranks. Relays of the last two are given to no call.
const (
	RankNear     Rank = iota // of the call's region, with room
	RankFar                  // of another region, with room
	RankBusy                 // 80 % full, wherever it is
	RankDraining             // taken out of service
	RankGone                 // died or stopped
)

// String is the rank's name for operators.
func (k Rank) String() string {
	return [...]string{"near", "far", "busy", "draining", "gone"}[k]
}

// rank says how r stands for a call of a region.
func (r Relay) rank(region string) Rank {
	switch {
	case r.Gone:
		return RankGone
	case r.Draining:
		return RankDraining
	case r.load() >= busyAt:
		return RankBusy
	case r.Region != region:
		return RankFar
	}
	return RankNear
}

// Verdict says whether a relay is given to a call, and why or why not.
type Verdict string

// The verdicts.
const (
	First         Verdict = "first"          // of those with the best rank, this call's
	Second        Verdict = "second"         // the next in order, and not of the first one's zone
	SecondAnyZone Verdict = "second_no_zone" // the next in order; there is none of another zone
	NotNeeded     Verdict = "not_needed"     // others come before it
	SameZone      Verdict = "same_zone"      // it would fail together with the first
	Excluded      Verdict = "excluded"       // draining or gone
)

// Given reports whether the call is given the relay.
func (v Verdict) Given() bool { return v == First || v == Second || v == SecondAnyZone }

// Candidate is a relay as one call sees it.
type Candidate struct {
	Relay
	Rank    Rank
	Verdict Verdict
	// Share is which part of all calls of the region have the relay as their first, by
	// the room that it has among those of the best rank.
	Share float64
	// weight decides among relays of one rank for this call.
	weight float64
}

// RankRelays orders relays for a call whose caller is best served in a region, the
// better one first, and says of each whether the call is given it and why: those of the
// region come before others, the busy ones last, and of those alike each gets a share
// of the calls after the room that it has. The second that is given is of another zone,
// if there is one. All who ask for the same call get the same, as long as the relays do
// not change, so that one relay carries both sides. Relays that are given to no call
// stand at the end.
func RankRelays(all []Relay, call, region string) []Candidate {
	out := make([]Candidate, len(all))
	for i, r := range all {
		out[i] = Candidate{Relay: r, Rank: r.rank(region), Verdict: NotNeeded}
		if out[i].Rank < RankDraining {
			out[i].weight = r.weight(call)
		}
	}
	slices.SortFunc(out, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(b.weight, a.weight), cmp.Compare(a.Name, b.Name))
	})
	judge(out)
	share(out)
	return out
}

// judge says which of the ordered candidates are given to the call.
func judge(ordered []Candidate) {
	open := len(ordered)
	for i := range ordered {
		if ordered[i].Rank >= RankDraining {
			ordered[i].Verdict = Excluded
			open = min(open, i)
		}
	}
	if open == 0 {
		return
	}
	ordered[0].Verdict = First
	if open == 1 {
		return
	}
	rest, zone := ordered[1:open], ordered[0].Zone
	second := slices.IndexFunc(rest, func(c Candidate) bool { return c.Zone == "" || c.Zone != zone })
	if second < 0 {
		rest[0].Verdict = SecondAnyZone
		return
	}
	rest[second].Verdict = Second
	for i := range second {
		rest[i].Verdict = SameZone
	}
}

// share says which part of the calls each has as its first.
func share(ordered []Candidate) {
	var best float64
	at := 0
	for ; at < len(ordered) && ordered[at].Rank == ordered[0].Rank && ordered[at].Rank < RankDraining; at++ {
		best += ordered[at].room()
	}
	for i := range at {
		ordered[i].Share = ordered[i].room() / best
	}
}

// ChooseRelays returns the relays that [RankRelays] gives to a call, at most
// [RelaysPerCall], the better one first.
func ChooseRelays(all []Relay, call, region string) (given []Relay) {
	for _, c := range RankRelays(all, call, region) {
		if c.Verdict.Given() {
			given = append(given, c.Relay)
		}
	}
	return given
}

// weight is high for the calls that a relay should have: weighted rendezvous hashing.
func (r Relay) weight(call string) float64 {
	h := sha256.Sum256([]byte(r.Name + " " + call))
	u := (float64(binary.BigEndian.Uint64(h[:])>>11) + 0.5) / (1 << 53) // in (0, 1)
	return -r.room() / math.Log(u)
}
