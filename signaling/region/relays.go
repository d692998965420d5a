package region

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
)

// Relay is what is known of a relay that lives.
type Relay struct {
	Name     string // its incarnation
	Region   string
	Zone     string // what fails together with it; "" is the relay alone
	Used     int    // allocations, as of its last renewal
	Max      int    // 0: not known
	Draining bool
}

// load is how full a relay is, in tenths, so that those who ask a moment later get the
// same answer.
func (r Relay) load() float64 {
	if r.Max <= 0 {
		return 0
	}
	return math.Floor(10*float64(r.Used)/float64(r.Max)) / 10
}

// busyAt is the load from which on a relay is given to calls only where no other is
// left: those that it has may need more.
const busyAt = 0.8

// RelaysPerCall is how many relays a call is given: the second is for when the first
// has died and that is not known yet.
const RelaysPerCall = 2

// ChooseRelays returns the relays for a call whose caller is best served in a region,
// at most [RelaysPerCall], the better one first: those of the region before others, the
// busy ones last, and of those alike each with a share of the calls after the room that
// it has. The second is of another zone, if there is one. All who ask for the same call
// get the same, as long as the relays do not change, so that one relay carries both
// sides.
func ChooseRelays(all []Relay, call, region string) []Relay {
	open := slices.DeleteFunc(slices.Clone(all), func(r Relay) bool { return r.Draining })
	weight := map[string]float64{}
	for _, r := range open {
		weight[r.Name] = r.share(call)
	}
	rank := func(r Relay) int {
		switch {
		case r.load() >= busyAt:
			return 2
		case r.Region != region:
			return 1
		}
		return 0
	}
	slices.SortFunc(open, func(a, b Relay) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(weight[b.Name], weight[a.Name]), cmp.Compare(a.Name, b.Name))
	})
	if len(open) <= RelaysPerCall {
		return open
	}
	second := 1 + max(0, slices.IndexFunc(open[1:], func(r Relay) bool { return r.Zone == "" || r.Zone != open[0].Zone }))
	return []Relay{open[0], open[second]}
}

// share is high for the calls that a relay should have: weighted rendezvous hashing.
func (r Relay) share(call string) float64 {
	h := sha256.Sum256([]byte(r.Name + " " + call))
	u := (float64(binary.BigEndian.Uint64(h[:])>>11) + 0.5) / (1 << 53) // in (0, 1)
	room := max(1-r.load(), 0.05)
	return -room / math.Log(u)
}
