package ledger

import "fmt"

// Rule is a promise that can be broken.
type Rule int

const (
	// Lost: a text was acknowledged and a device never showed it.
	Lost Rule = iota
	// Repeated: a device showed a text twice.
	Repeated
	// Misordered: a device showed a text after one that is later in its mailbox.
	Misordered
	// Overtaken: a device showed a text after one whose sending began only when
	// the first was already acknowledged, whoever sent them.
	Overtaken
	// Invented: a device showed a text that nobody sent to it.
	Invented
	// Altered: a device showed a text with another body, type or receiver.
	Altered
	// Misused: the program told the ledger what cannot be: an id that was used
	// already, an acknowledgement of nothing, a device that was not added.
	Misused

	rules = iota
)

func (r Rule) String() string {
	names := [rules]string{"lost", "repeated", "misordered", "overtaken", "invented", "altered", "misused"}
	if r < 0 || r >= rules {
		return fmt.Sprintf("Rule(%d)", int(r))
	}
	return names[r]
}

// Rules are all there are.
func Rules() []Rule {
	all := make([]Rule, rules)
	for i := range all {
		all[i] = Rule(i)
	}
	return all
}

// Breach is one promise that was broken.
type Breach struct {
	Rule Rule
	Text string // its id
	// Seq is its place in the mailbox and After the highest shown there before,
	// where they are known.
	Seq, After uint64
}

// Error says it without account, device or body.
func (b *Breach) Error() string {
	if b.Seq == 0 {
		return fmt.Sprintf("text %s: %s", b.Text, b.Rule)
	}
	return fmt.Sprintf("text %s, %d in the mailbox, shown after %d: %s", b.Text, b.Seq, b.After, b.Rule)
}

// maxBreaches is how many are kept whole of each rule; the others are counted.
const maxBreaches = 20

type breaches struct {
	counts [rules]int
	kept   []Breach
}

func (s *breaches) add(b Breach) *Breach {
	if s.counts[b.Rule]++; s.counts[b.Rule] <= maxBreaches {
		s.kept = append(s.kept, b)
	}
	return &b
}
